"""Pixels as targets, each patch normalised by itself: MAE (He et al. 2022, arXiv 2111.06377, section 3)."""

import torch
from jaxtyping import Float
from torch import Tensor

from evax.tokenizers.base import Tokenizer, grid_rows

EPSILON = 1e-6  # added to the variance of a patch, as in MAE


class PixelTokenizer(Tokenizer):
    """A patch's pixels in row order with mean 0 and variance 1 (0 where the patch is flat).

    Films are grey, so only the first channel is read: 256 numbers a patch by default.
    """

    loss = "squared"

    def __init__(self, patch_size: int = 16) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.dim = patch_size**2

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N T"]:
        """Normalised pixels of every patch."""
        grid = self.grid(images)
        with torch.autocast(images.device.type, enabled=False):
            pixels = grid_rows(images[:, :1].float(), grid)
            variance, mean = torch.var_mean(pixels, dim=-1, keepdim=True)
            return (pixels - mean) / torch.sqrt(variance + EPSILON)
