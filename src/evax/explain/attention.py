"""The attention weights of a forward pass, written out although the model's kernel never shows them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

from evax.explain.explainable import Explainable


class Attended(NamedTuple):
    """Attention of every block, input to output, and of an attentive head, whose query reads the P patch tokens."""

    blocks: list[Float[Tensor, "B heads N N"]]
    pool: Float[Tensor, "B heads 1 P"] | None


class _Written(TorchFunctionMode):
    """Computes attention as products in place of PyTorch's fused kernel, and keeps the weights.

    What goes into the kernel is all that the model made of them: rotary positions, norms of q and k, biases.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        q, k, v = args[:3]
        scale = kwargs.get("scale") or q.shape[-1] ** -0.5
        weights = (q * scale @ k.mT).softmax(-1)
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_()
        self.weights.append(weights)
        return weights.to(v.dtype) @ v


@contextmanager
def _fused(explainable: Explainable) -> Iterator[None]:
    """Let every attention take PyTorch's kernel for a while, whichever was chosen."""
    parts = [part for part in (explainable.backbone, explainable.head) if part is not None]
    modules = [module for part in parts for module in part.modules()]
    choices = [
        (module, name, getattr(module, name), choice)
        for name, choice in (("kernel", "sdpa"), ("fused_attn", True))
        for module in modules
        if hasattr(module, name)
    ]
    try:
        for module, name, _, choice in choices:
            setattr(module, name, choice)
        yield
    finally:
        for module, name, before, _ in choices:
            setattr(module, name, before)


def attended(explainable: Explainable, run: Callable[[], Any]) -> tuple[Attended, Any]:
    """What was attended to while `run()` ran the model, and what it returned; ValueError where nothing is seen."""
    with _fused(explainable), _Written() as written:
        result = run()
    depth = len(explainable.blocks)
    num_expected = depth + int(explainable.head is not None and explainable.head.reads_tokens)
    if not depth or len(written.weights) not in (depth, num_expected):
        raise ValueError(f"{explainable.name} does not attend once a block: its attention cannot be read")
    blocks, pool = written.weights[:depth], written.weights[depth:]
    return Attended(blocks, pool[0] if pool else None), result


@torch.no_grad()
def attention_of(explainable: Explainable, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B heads N N"]]:
    """Attention weights of every block, from input to output; rows are queries and add up to 1."""
    with explainable.evaluating():
        return attended(explainable, lambda: explainable.backbone(explainable.cast(images)))[0].blocks


def patches_seen(
    explainable: Explainable, weights: Float[Tensor, "B N N"], grid: tuple[int, int]
) -> Float[Tensor, "B R C"]:
    """What the features that are read see of the patches: the class token's row, or the mean of the patches' rows."""
    first = explainable.num_prefix_tokens
    queries = weights[:, :1] if explainable.reads_class_token else weights[:, first:]
    return queries[..., first:].float().mean(1).unflatten(1, grid)


def attention(
    explainable: Explainable,
    images: Float[Tensor, "B 3 H W"],
    classes: Int[Tensor, "B"] | None = None,
    *,
    heads: Sequence[int] | None = None,
    block: int = -1,
) -> Float[Tensor, "B R C"]:
    """Attention of a block (the last) to the patches, mean of the chosen heads (all); it knows no class.

    The query is what logits are read from: the class token, or the mean of all patches.
    """
    weights = _heads(attention_of(explainable, images)[block], heads)
    return patches_seen(explainable, weights, explainable.grid(images))


def reference_attention(
    explainable: Explainable,
    images: Float[Tensor, "B 3 H W"],
    points: Float[Tensor, "B 2"],
    *,
    heads: Sequence[int] | None = None,
    block: int = -1,
) -> Float[Tensor, "B R C"]:
    """What the patch at each film's point (x, y), in [0, 1] from the top left, attends to (EVA-X paper's figure)."""
    if not ((points >= 0) & (points <= 1)).all():
        raise ValueError("a reference point is (x, y) in [0, 1], from the film's top left corner")
    weights = _heads(attention_of(explainable, images)[block], heads)
    rows, columns = explainable.grid(images)
    cells = (points.cpu() * torch.tensor([columns, rows])).long().clamp(max=torch.tensor([columns, rows]) - 1)
    first = explainable.num_prefix_tokens
    queries = first + cells[:, 1] * columns + cells[:, 0]
    films = torch.arange(len(weights))
    return weights[films, queries, first:].float().unflatten(1, (rows, columns))


def _heads(weights: Tensor, heads: Sequence[int] | None) -> Tensor:
    """Mean of the chosen heads; ValueError for one that is not there."""
    count = weights.shape[1]
    if heads is not None and (not heads or not all(0 <= head < count for head in heads)):
        raise ValueError(f"heads={list(heads)} are not all of 0 to {count - 1}")
    return (weights if heads is None else weights[:, list(heads)]).mean(1)
