"""What the target layer gives, and how a class's logit would change with it."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from evax.explain.explainable import Explainable


class Sensed(NamedTuple):
    """The target layer's output on the grid, and the gradient of each film's logit to it; float32 or float64."""

    activations: Float[Tensor, "B D R C"]
    gradients: Float[Tensor, "B D R C"]


def sense(explainable: Explainable, images: Float[Tensor, "B 3 H W"], classes: Int[Tensor, "B"]) -> Sensed:
    """One pass forward and one back, which ends at the target layer: weights get no gradient, frozen or not.

    The layer's output becomes a leaf, so that nothing below it is kept; the hook is gone afterwards.
    """
    seen: list[Tensor] = []

    def replace(_layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1].clone()  # what follows may change it in place

    with explainable.evaluating(), torch.enable_grad(), explainable.layer.register_forward_hook(replace):
        logits = explainable.chosen_logits(images, classes)
        (gradient,) = torch.autograd.grad(logits.sum(), seen)
    return Sensed(*(_wide(explainable.on_grid(each, images)) for each in (seen[0].detach(), gradient)))


@torch.no_grad()
def activations(explainable: Explainable, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D R C"]:
    """The target layer's output on the grid, float32 or float64; no class is needed."""
    seen: list[Tensor] = []
    hook = explainable.layer.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.clone()))
    with explainable.evaluating(), hook:
        explainable.backbone(explainable.cast(images))
    return _wide(explainable.on_grid(seen[0], images))


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
