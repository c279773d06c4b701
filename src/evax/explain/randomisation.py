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
    inner = [(f"blocks.{i}", block) for i, block in enumerate(blocks)] or list(_stages(backbone))
    grouped = {id(weight) for _, module in inner for weight in module.parameters()}
    rest = [(name, weight) for name, weight in backbone.named_parameters() if id(weight) not in grouped]
    after = [
        weight for name, weight in rest if name.startswith(("norm", "fc_norm")) and not name.startswith("norm_pre")
    ]
    if after:
        yield "norm", after
    for name, module in reversed(inner):
        yield name, list(module.parameters())
    taken = {id(weight) for weight in after}
    yield "embedding", [weight for _, weight in rest if id(weight) not in taken]


def spearman(first: Float[Tensor, "B R C"], second: Float[Tensor, "B R C"]) -> Float[np.ndarray, "B"]:
    """Rank correlation of two maps of each film; NaN where one is constant."""
    pairs = zip(*(maps.detach().cpu().flatten(1).double().numpy() for maps in (first, second)), strict=True)
    return np.array([spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])


def _stages(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """A CNN's stages in order: the `layer`s of a ResNet, the dense blocks of a DenseNet."""
    for name, module in backbone.named_modules():
        if name.rpartition(".")[2].rstrip("0123456789") in ("layer", "denseblock"):
            yield name, module


def _shuffle(weight: Tensor, rng: np.random.Generator) -> None:
    order = torch.from_numpy(rng.permutation(weight.numel())).to(weight.device)
    with torch.no_grad():
        weight.copy_(weight.flatten()[order].view_as(weight))
