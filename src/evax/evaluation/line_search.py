"""The best point along a direction, and the best offset there, for many logistic regressions at once."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

EVALUATIONS = 6  # of one search, at most
ENOUGH = 0.1  # of the first slope: a search that leaves no more of it is over
BLOCK = 2**18  # logits that are handled at once, to stay in the cache


# Shapes: N films, D width, K problems
def residuals(signs: Float32[Tensor, "K N"], logits: Float[Tensor, "K N"]) -> Float[Tensor, "K N"]:
    """Derivative of each film's loss by its logit; 0 where the sign is 0, exact where it is tiny."""
    return -signs * torch.sigmoid(-signs * logits)


def curvatures(values: Float[Tensor, "K N"]) -> Float[Tensor, "K N"]:
    """Second derivatives of the losses, from the residuals."""
    return values.abs() - values.square()


class Slopes(NamedTuple):
    """Derivatives of the objectives by length and offset, first and second."""

    length: Float64[Tensor, "K"]
    offset: Float64[Tensor, "K"]
    length_length: Float64[Tensor, "K"]
    length_offset: Float64[Tensor, "K"]
    offset_offset: Float64[Tensor, "K"]

    def along(self, step: Float64[Tensor, "2 K"]) -> Float64[Tensor, "K"]:
        """Derivative along a step of length and offset."""
        return self.length * step[0] + self.offset * step[1]

    def newton(self) -> Float64[Tensor, "2 K"]:
        """The step to the minimum of the quadratic that the derivatives describe; none where it has no minimum."""
        tiny = torch.finfo(torch.float64).tiny
        steepness = self.offset_offset.clamp(min=tiny)
        ratio = self.length_offset / steepness
        rest = (self.length_length - ratio * self.length_offset).clamp(min=tiny)
        length = (ratio * self.offset - self.length) / rest
        step = torch.stack([length, -(self.offset + self.length_offset * length) / steepness])
        return torch.where(torch.isfinite(step).all(0), step, 0.0)

    def where(self, condition: Bool[Tensor, "K"], other: "Slopes") -> "Slopes":
        """These where the condition holds, and others elsewhere."""
        return Slopes(*(torch.where(condition, own, its) for own, its in zip(self, other, strict=True)))


def line_search(
    signs: Float32[Tensor, "K N"],
    logits: Float64[Tensor, "K N"],
    ways: Float[Tensor, "K N"],
    weights: Float64[Tensor, "K D"],
    directions: Float64[Tensor, "K D"],
    strength: float,
) -> tuple[Float64[Tensor, "K"], Float64[Tensor, "K"]]:
    """Length along `directions`, which changes the logits by `ways`, and change of the offset, near the minimum.

    Newton's steps in both; a step after which the objective rises again is cut short.
    """

    def slopes(at: Float64[Tensor, "2 K"]) -> Slopes:
        of_losses = strength * loss_slopes(signs, logits, ways, at)
        square = directions.square().sum(1)
        of_losses[0] += (weights * directions).sum(1) + at[0] * square
        of_losses[2] += square
        return Slopes(*of_losses)

    best = torch.zeros(2, len(weights), dtype=torch.float64)
    here = first = slopes(best)
    step = here.newton()
    is_done = torch.zeros(len(weights), dtype=torch.bool)
    for _ in range(EVALUATIONS):
        there = slopes(best + step)
        before, after = here.along(step), there.along(step)
        is_better = (after <= before.abs() / 2) & ~is_done
        best = torch.where(is_better, best + step, best)
        here = there.where(is_better, here)
        is_flat = here.offset.square() <= ENOUGH**2 * here.offset_offset * first.length.abs()
        is_done |= is_better & is_flat & (here.length.abs() <= ENOUGH * first.length.abs())
        if is_done.all():
            break
        step = torch.where(is_better, here.newton(), step * before / (before - after))
    return best[0], best[1]


def loss_slopes(
    signs: Float32[Tensor, "K N"],
    logits: Float64[Tensor, "K N"],
    ways: Float[Tensor, "K N"],
    at: Float64[Tensor, "2 K"],
) -> Float64[Tensor, "5 K"]:
    """Sums over films of the losses' derivatives, in the order of `Slopes`."""
    total = torch.zeros(5, len(signs), dtype=torch.float64)
    length, offset = at.to(ways.dtype)[..., None]
    size = max(1, BLOCK // len(signs))
    for first in range(0, signs.shape[1], size):
        block = slice(first, first + size)
        way = ways[:, block]
        slope = residuals(signs[:, block], logits[:, block].to(ways.dtype) + length * way + offset)
        curvature = curvatures(slope)
        tilted = curvature * way
        total += torch.stack([each.sum(1) for each in (slope * way, slope, tilted * way, tilted, curvature)])
    return total
