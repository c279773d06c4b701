"""Does the model use what a map shows? Pixels are taken away, or given, in the map's order."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from evax.backbones.precision import full_precision
from evax.explain.explainable import Explainable

Baseline = Literal["blur", "mean"]
BLUR = 0.05  # standard deviation as a share of the shorter side


class Curve(NamedTuple):
    """Probability of each film's class over the share of changed pixels, and the area under it in [0, 1]."""

    shares: Float[Tensor, "S"]
    probabilities: Float[Tensor, "B S"]
    area: Float[Tensor, "B"]


@full_precision()
def deletion(
    explainable: Explainable,
    images: Float[Tensor, "B 3 H W"],
    classes: Int[Tensor, "B"],
    maps: Float[Tensor, "B H W"],
    *,
    steps: int = 20,
    baseline: Baseline = "mean",
) -> Curve:
    """The map's highest pixels go first (RISE, Petsiuk et al. 2018): a small area speaks for the map."""
    return _curve(explainable, images, without(images, baseline), classes, maps, steps)


@full_precision()
def insertion(
    explainable: Explainable,
    images: Float[Tensor, "B 3 H W"],
    classes: Int[Tensor, "B"],
    maps: Float[Tensor, "B H W"],
    *,
    steps: int = 20,
    baseline: Baseline = "blur",
) -> Curve:
    """The map's highest pixels come first (RISE, Petsiuk et al. 2018): a large area speaks for the map."""
    return _curve(explainable, without(images, baseline), images, classes, maps, steps)


def without(images: Float[Tensor, "B 3 H W"], baseline: Baseline) -> Float[Tensor, "B 3 H W"]:
    """Films that show nothing: blurred, or their own mean."""
    if baseline == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    sigma = BLUR * min(images.shape[-2:])
    return gaussian_blur(images, [2 * round(2 * sigma) + 1] * 2, [sigma] * 2)


@torch.no_grad()
def _curve(explainable: Explainable, before: Tensor, after: Tensor, classes: Tensor, maps: Tensor, steps: int) -> Curve:
    """Probabilities while pixels of `before` become those of `after`, the map's highest first."""
    if steps < 1:
        raise ValueError(f"faithfulness: steps={steps} must be above 0")
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    place = order.argsort(dim=1).view_as(maps)[:, None]  # 0 where the map is highest
    shares = torch.linspace(0, 1, steps + 1)
    chosen = classes.to(before.device)[:, None]
    with explainable.evaluating():
        seen = [
            explainable.probabilities(torch.where(place < round(share * maps[0].numel()), after, before)).gather(
                1, chosen
            )
            for share in shares.tolist()
        ]
    probabilities = torch.cat(seen, dim=1).cpu()
    return Curve(shares, probabilities, torch.trapezoid(probabilities, shares, dim=1))
