"""Maps from inside a backbone, for dense predictions: outputs of a ViT's blocks, stages of a CNN."""

from collections.abc import Iterable
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

Taps = Literal["last", "four"]

PUBLISHED = (3, 5, 7, 11)  # the blocks of twelve, from 0, that EVA-X's segmentation collects
NUM_LEVELS = 4  # of a feature pyramid
NUM_STAGES = 5  # of a CNN: strides 2, 4, 8, 16 and 32
UNREAD = ("norm", "fc_norm", "attn_pool", "head", "mask_token")  # of a ViT, behind its last block or for MIM alone


def is_vit(backbone: nn.Module) -> bool:
    """Whether a backbone is a stack of blocks on one grid, and no CNN."""
    return hasattr(backbone, "blocks")


def tapped(depth: int, taps: Taps) -> tuple[int, ...]:
    """The blocks, from 0, whose outputs are the four maps of a ViT.

    "last" is the last block four times, as EVA-X segments; "four" are inner blocks: 3, 5, 7 and 11 of twelve, the ends
    of four equal parts of other depths.
    """
    if taps == "last":
        return (depth - 1,) * NUM_LEVELS
    if depth == PUBLISHED[-1] + 1:
        return PUBLISHED
    return tuple(max(0, part * depth // NUM_LEVELS - 1) for part in range(1, NUM_LEVELS + 1))


def places(backbone: nn.Module, taps: Taps) -> tuple[int, ...]:
    """Where a backbone is read: `tapped` blocks of a ViT, all stages of a CNN."""
    return tapped(len(backbone.blocks), taps) if is_vit(backbone) else tuple(range(NUM_STAGES))


def widths(backbone: nn.Module, at: Iterable[int]) -> list[int]:
    """Channels of the maps at some places."""
    return [backbone.feature_info[place]["num_chs"] for place in at]


def inner_maps(
    backbone: Any, images: Float[Tensor, "B 3 H W"], at: Iterable[int]
) -> list[Float[Tensor, "B _width _rows _columns"]]:
    """The maps at some places, in their order, without prefix tokens and without the final norm.

    Images are normalised. Learned positions and rotary tables follow the grid of the images.
    """
    wanted = sorted(set(at))
    maps = backbone.forward_intermediates(images, indices=wanted, intermediates_only=True)
    return [maps[wanted.index(place)] for place in at]


def freeze_unread(backbone: nn.Module) -> None:
    """Take what no inner map depends on out of training, in place: ranks would wait for its gradient."""
    for name in UNREAD:
        part = getattr(backbone, name, None)
        if is_vit(backbone) and part is not None:
            part.requires_grad_(False)
