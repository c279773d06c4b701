"""Which sizes of films a backbone's patches cover."""

from typing import Any

from torch import nn

from evax.backbones.inner_maps import is_vit


def patch_size_of(backbone: Any) -> int | None:
    """Side of a ViT's square patches in pixels; None of a CNN, which has none."""
    return int(backbone.patch_embed.patch_size[0]) if is_vit(backbone) else None


def check_grid(backbone: nn.Module, image_size: int) -> None:
    """Refuse films that whole patches do not cover, with the nearest sizes that they do; a CNN takes any size."""
    patch = patch_size_of(backbone)
    if patch is None or (image_size >= patch and image_size % patch == 0):
        return
    below = max(image_size, 0) // patch * patch
    nearest = f"{below} or {below + patch}" if below else str(patch)
    raise ValueError(f"image_size={image_size} is not a multiple of the patch size {patch}; use {nearest}")
