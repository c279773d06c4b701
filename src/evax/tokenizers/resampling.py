"""Bringing films to a tokenizer's grid, or its tokens to the student's: bicubic, with antialias where it shrinks."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def resize_maps(maps: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B C H2 W2"]:
    """Maps of another size (height, width); the same maps if they have it."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bicubic", antialias=True, align_corners=False)


def resize_films(images: Float[Tensor, "B 3 H W"], size: tuple[int, int]) -> Float[Tensor, "B 3 H2 W2"]:
    """Unit images of another size; what bicubic weights carry beyond [0, 1] is cut off."""
    return resize_maps(images, size).clamp(0, 1)


def resize_tokens(
    tokens: Float[Tensor, "B N T"], grid: tuple[int, int], new_grid: tuple[int, int]
) -> Float[Tensor, "B N2 T"]:
    """Tokens of one (rows, columns) grid on another."""
    maps = tokens.transpose(1, 2).unflatten(-1, grid)
    return resize_maps(maps, new_grid).flatten(2).transpose(1, 2)
