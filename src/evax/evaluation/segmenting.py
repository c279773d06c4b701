"""From films to logits of their own size: flips averaged, large films through a sliding window."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

Model = Callable[[UInt8[Tensor, "B 1 H W"]], Float[Tensor, "B C H W"]]  # stored films to logits of their size


@dataclass(frozen=True)
class Inference:
    """How films are shown to a network: whole, or by a sliding `window` (pixels of the film), and mirrored too.

    `stride` is half a window where it is None.
    """

    flip: bool = False
    window: int | None = None
    stride: int | None = None

    def applied(self, model: Model, side: int) -> Model:
        """The model with it; `side` is that of the squares that the network was trained on."""
        model = flip_averaged(model) if self.flip else model
        return sliding(seen_at(model, side), self.window, self._stride) if self.window is not None else model

    def __str__(self) -> str:
        shown = "whole film" if self.window is None else f"window={self.window} stride={self._stride}"
        return shown + ", flip" * self.flip

    @property
    def _stride(self) -> int:
        return self.stride if self.stride is not None else max(1, (self.window or 0) // 2)


# Shapes: B films, C channels of logits, H W pixels of the films, S side of what the network sees
def fit_to(logits: Float[Tensor, "B C h w"], size: tuple[int, int]) -> Float[Tensor, "B C H W"]:
    """Logits at another size: bilinear, corners not aligned, as EVA-X's test does before the sigmoid."""
    if tuple(logits.shape[-2:]) == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def foreground(logits: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
    """Probabilities of the classes: a sigmoid of one channel, or a softmax of several without the first, background."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, 1:]


def flip_averaged(model: Model) -> Model:
    """The mean of the logits of films and of their mirror images, mirrored back.

    Not for classes that name a side: a mirrored right lung looks like a left one.
    """

    def logits(images: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
        return (model(images) + model(images.flip(-1)).flip(-1)) / 2

    return logits


def seen_at(model: Model, side: int) -> Model:
    """A model that sees squares of `side` pixels, for films of any size: bilinear there, its logits bilinear back."""

    def logits(images: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
        size = (images.shape[-2], images.shape[-1])
        if size == (side, side):
            return model(images)
        shrinks = side < min(size)
        seen = F.interpolate(images.float(), (side, side), mode="bilinear", align_corners=False, antialias=shrinks)
        return fit_to(model(seen.round().clamp(0, 255).to(torch.uint8)), size)

    return logits


def sliding(model: Model, window: int, stride: int) -> Model:
    """The mean of the logits of all windows that cover a pixel: squares of `window` pixels, `stride` apart.

    The last window of each row and column ends with the film. Raises ValueError for films smaller than a window.
    """
    if not 0 < stride <= window:
        raise ValueError(f"stride={stride} must be from 1 to window={window}, or pixels between windows are not seen")

    def logits(images: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
        height, width = images.shape[-2:]
        if min(height, width) < window:
            raise ValueError(f"window={window} is more than the {height} x {width} pixels of the films; leave it out")
        total: Tensor | None = None
        times = torch.zeros(height, width)
        for top in starts(height, window, stride):
            for left in starts(width, window, stride):
                box = (..., slice(top, top + window), slice(left, left + window))
                part = model(images[box])
                if total is None:
                    total, times = part.new_zeros(*part.shape[:2], height, width), times.to(part.device)
                total[box] += part
                times[box] += 1
        assert total is not None
        return total / times

    return logits


def starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one side."""
    return [*range(0, length - window, stride), length - window]
