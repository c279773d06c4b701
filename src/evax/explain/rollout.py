"""Attention followed through all blocks."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from evax.explain.attention import attention_of, patches_seen
from evax.explain.explainable import Explainable


def rollout(
    explainable: Explainable, images: Float[Tensor, "B 3 H W"], classes: Int[Tensor, "B"] | None = None
) -> Float[Tensor, "B R C"]:
    """Product over blocks of 0.5 A + 0.5 I, A the mean of heads, rows adding up to 1 (Abnar and Zuidema 2020).

    Half of each token is what the skip connection lets through. Prefix tokens take part; it knows no class.
    """
    flow: Tensor | None = None
    for weights in attention_of(explainable, images):
        mixed = 0.5 * weights.float().mean(1) + 0.5 * torch.eye(weights.shape[-1], device=weights.device)
        mixed = mixed / mixed.sum(-1, keepdim=True)
        flow = mixed if flow is None else mixed @ flow
    assert flow is not None
    return patches_seen(explainable, flow, explainable.grid(images))
