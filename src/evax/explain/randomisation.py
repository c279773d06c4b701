"""Does a map depend on what the model has learned? Layers lose it one after the other, the head first."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import spearmanr
from torch import Tensor, nn

from evax.data.keyed_random import Stream, keyed_generator
from evax.explain.explainable import Explainable

Map = Callable[[Explainable, Tensor, Tensor], Tensor]


class Similarity(NamedTuple):
    """How alike the maps still are once `layer` and all above it are random: Spearman's rho of each film's cells."""

    layer: str
    rho: Float[np.ndarray, "B"]


def cascade(
    explainable: Explainable,
    images: Float[Tensor, "B 3 H W"],
    classes: Int[Tensor, "B"],
    method: Map,
    *,
    seed: int = 0,
) -> list[Similarity]:
    """The sanity check of Adebayo et al. (2018), cascading from the head to the embedding of patches.

    A layer loses what it learned by a shuffle of each tensor's values, which keeps their distribution. rho is NaN
    where a map has no contrast. All weights are back afterwards, bit for bit.
    """
    layers = list(learned_layers(explainable))
    kept = [(weight, weight.detach().clone()) for _, weights in layers for weight in weights]
    trained = method(explainable, images, classes)
    rng = keyed_generator(seed, Stream.SHUFFLE)
    results = []
    try:
        for name, weights in layers:
            for weight in weights:
                _shuffle(weight, rng)
            results.append(Similarity(name, spearman(trained, method(explainable, images, classes))))
    finally:
        with torch.no_grad():
            for weight, value in kept:
                weight.copy_(value)
    return results


def learned_layers(explainable: Explainable) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Head, what follows the blocks, each block or stage from the last to the first, and the embedding."""
    if explainable.head is not None:
        yield "head", list(explainable.head.parameters())
    backbone: Any = explainable.backbone
    blocks = explainable.blocks
    inner = [(f"blocks.{i}", [block]) for i, block in enumerate(blocks)] or _stages(backbone)
    grouped = {id(weight) for _, modules in inner for module in modules for weight in module.parameters()}
    rest = [(name, weight) for name, weight in backbone.named_parameters() if id(weight) not in grouped]
    after = [weight for name, weight in rest if _is_last_norm(name)]
    if after:
        yield "norm", after
    for name, modules in reversed(inner):
        yield name, [weight for module in modules for weight in module.parameters()]
    yield "embedding", [weight for name, weight in rest if not _is_last_norm(name)]


def spearman(first: Float[Tensor, "B R C"], second: Float[Tensor, "B R C"]) -> Float[np.ndarray, "B"]:
    """Rank correlation of two maps of each film; NaN where one is constant."""
    pairs = zip(*(maps.detach().cpu().flatten(1).double().numpy() for maps in (first, second)), strict=True)
    return np.array([spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])


def _is_last_norm(weight: str) -> bool:
    """Whether a weight is of the norm behind all blocks: `norm` or `fc_norm` of a ViT, `norm5` of a DenseNet."""
    module = weight.rpartition(".")[0]
    return module in ("norm", "fc_norm") or module.rpartition(".")[2] == "norm5"


def _stages(backbone: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """A CNN's stages in order: the `layer`s of a ResNet, a DenseNet's dense blocks with the transition behind each."""
    stages: list[tuple[str, list[nn.Module]]] = []
    for name, module in backbone.named_modules():
        kind = name.rpartition(".")[2].rstrip("0123456789")
        if kind in ("layer", "denseblock"):
            stages.append((name, [module]))
        elif kind == "transition" and stages:
            stages[-1][1].append(module)
    return stages


def _shuffle(weight: Tensor, rng: np.random.Generator) -> None:
    order = torch.from_numpy(rng.permutation(weight.numel())).to(weight.device)
    with torch.no_grad():
        weight.copy_(weight.flatten()[order].view_as(weight))
