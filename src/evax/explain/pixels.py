"""From a map on a grid to one on a film's pixels."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def to_pixels(maps: Float[Tensor, "B R C"], size: int | tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Maps at `size` (a side, or height and width), bilinear, each scaled to [0, 1].

    A map without contrast is 1 everywhere where it is positive: it says that all places count alike; else it is 0.
    """
    height, width = (size, size) if isinstance(size, int) else size
    maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    pixels = F.interpolate(maps[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
    low, high = pixels.amin((1, 2), keepdim=True), pixels.amax((1, 2), keepdim=True)
    scaled = (pixels - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)
    least, most = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)  # interpolation adds rounding
    return torch.where(most > least, scaled, (most > 0).to(maps.dtype))
