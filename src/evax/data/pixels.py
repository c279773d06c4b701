"""From stored bytes to what a network reads; runs on the device."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_unit(images: UInt8[Tensor, "B 1 H W"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "B 3 H W"]:
    """Grey bytes as three equal channels in [0, 1]."""
    return images.to(dtype).div(255).expand(-1, 3, -1, -1)


def normalise(
    images: Float[Tensor, "B 3 H W"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "B 3 H W"]:
    """Unit images with per-channel mean and standard deviation taken off."""
    centre = torch.tensor(mean, dtype=images.dtype, device=images.device).view(-1, 1, 1)
    scale = torch.tensor(std, dtype=images.dtype, device=images.device).view(-1, 1, 1)
    return (images - centre) / scale
