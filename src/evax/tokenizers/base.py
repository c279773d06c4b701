"""The contract of a tokenizer: what the student learns to predict."""

from abc import ABC, abstractmethod
from typing import Literal, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

AnyTokenizer = TypeVar("AnyTokenizer", bound="Tokenizer")


class Tokenizer(nn.Module, ABC):
    """Frozen target network: images to tokens of width `dim` on the student's grid of `patch_size` pixels.

    `loss` is the one that its paper trains the student with.
    """

    dim: int
    patch_size: int
    loss: Literal["cosine", "squared"] = "cosine"

    @abstractmethod
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N T"]:
        """Target tokens in float32, patches in row order; `images` are in [0, 1] and unmasked."""

    def grid(self, images: Float[Tensor, "B C H W"]) -> tuple[int, int]:
        """Patch rows and columns of the images."""
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"images of {height} × {width} pixels do not divide into patches of {self.patch_size}: "
                f"choose image_size as a multiple of {self.patch_size}"
            )
        return height // self.patch_size, width // self.patch_size

    def train(self: AnyTokenizer, mode: bool = True) -> AnyTokenizer:
        """Stay in evaluation mode: a target must not depend on the student's mode."""
        return super().train(False)


def grid_rows(maps: Float[Tensor, "B C H W"], grid: tuple[int, int]) -> Float[Tensor, "B N T"]:
    """Cut maps into a (rows, cols) grid of equal tiles in row order; a tile reads row, column, channel."""
    batch, channels, height, width = maps.shape
    rows, cols = grid
    tiles = maps.reshape(batch, channels, rows, height // rows, cols, width // cols)
    return tiles.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * cols, -1)
