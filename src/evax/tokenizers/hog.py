"""Histograms of oriented gradients as targets: MaskFeat (Wei et al. 2022, arXiv 2112.09133, section 3).

As in MaskFeat's public code: Sobel gradients with reflected borders, unsigned orientation, each pixel votes
with its gradient magnitude for one bin, cells do not overlap, and every cell's histogram has length one.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from evax.tokenizers.base import Tokenizer, grid_rows

# One grey level of an 8-bit film gives a cell at least 1/255; what is below this is rounding and stays small.
MIN_LENGTH = 1e-3
# In bins. Upright edges lie exactly on a bin's border; without slack, rounding would decide their bin.
SLACK = 1e-3


class HogTokenizer(Tokenizer):
    """Concatenated histograms of a patch's cells: 4 cells × 9 bins = 36 numbers in [0, 1] by default.

    Films are grey, so only the first channel is read (MaskFeat concatenates three colours).
    """

    loss = "squared"

    def __init__(self, patch_size: int = 16, bins: int = 9, cell: int = 8) -> None:
        super().__init__()
        if patch_size % cell:
            raise ValueError(f"tokenizer.cell is {cell}, but must divide tokenizer.patch_size, {patch_size}")
        self.patch_size = patch_size
        self.bins = bins
        self.cell = cell
        self.dim = bins * (patch_size // cell) ** 2

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N T"]:
        """Cells of a patch in row order, each with its bins; see `cell_histograms` for the bins."""
        grid = self.grid(images)
        with torch.autocast(images.device.type, enabled=False):
            return grid_rows(cell_histograms(images[:, :1].float(), self.bins, self.cell), grid)


def cell_histograms(grey: Float[Tensor, "B 1 H W"], bins: int, cell: int) -> Float[Tensor, "B bins rows cols"]:
    """Orientation histogram of every cell, of length 1 (0 where the image is flat).

    Bin k holds gradients at k to k + 1 times 180°/bins, from the x axis (columns) towards the y axis (rows).
    """
    gradient_x, gradient_y = sobel(grey)
    magnitude = torch.hypot(gradient_x, gradient_y)
    turns = torch.atan2(gradient_y, gradient_x) / math.pi * bins
    orientation = torch.floor(turns + SLACK).remainder(bins)
    # one pass per bin: scatter_add would need less arithmetic, but its sums are not reproducible on a GPU
    votes = [F.avg_pool2d(magnitude * (orientation == k), cell) for k in range(bins)]
    return F.normalize(torch.cat(votes, dim=1) * cell**2, dim=1, eps=MIN_LENGTH)


def sobel(
    grey: Float[Tensor, "B 1 H W"],
) -> tuple[Float[Tensor, "B 1 H W"], Float[Tensor, "B 1 H W"]]:
    """Gradients along x (columns) and y (rows), 8 per unit slope; exactly 0 where the image is constant."""
    padded = F.pad(grey, (1, 1, 1, 1), mode="reflect")
    down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return down[..., 2:] - down[..., :-2], across[..., 2:, :] - across[..., :-2, :]
