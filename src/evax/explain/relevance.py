"""Gradient times attention: which attention a class's logit rests on."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from evax.explain.attention import attended, patches_seen
from evax.explain.explainable import Explainable


def gradient_attention(
    explainable: Explainable, images: Float[Tensor, "B 3 H W"], classes: Int[Tensor, "B"]
) -> Float[Tensor, "B R C"]:
    """Relevance of the patches to a logit y (Chefer et al. 2021, equations 5 and 6).

    R starts as the identity; each block adds A' R to it, where A' is the mean over heads of the positive part of
    A * dy/dA. The map is R's row of the class token, or the mean of its patches' rows where those are pooled; an
    attentive head weighs these rows by its own A'.
    """
    with explainable.evaluating(), torch.enable_grad():
        seen, logits = attended(explainable, lambda: explainable.chosen_logits(images, classes))
        weights = seen.blocks if seen.pool is None else [*seen.blocks, seen.pool]
        slopes = torch.autograd.grad(logits.sum(), weights)
    useful = [(weight.detach() * slope).float().relu().mean(1) for weight, slope in zip(weights, slopes, strict=True)]
    relevance = torch.eye(useful[0].shape[-1], device=images.device).expand_as(useful[0])
    for each in useful[: len(seen.blocks)]:
        relevance = relevance + each @ relevance
    grid, first = explainable.grid(images), explainable.num_prefix_tokens
    if seen.pool is None:
        return patches_seen(explainable, relevance, grid)
    return (useful[-1] @ relevance[:, first:, first:])[:, 0].unflatten(1, grid)
