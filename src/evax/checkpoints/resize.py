"""Resampling of weights that depend on the patch grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def num_prefix_slots(model: nn.Module) -> int:
    """Slots of a timm model's position table that stand before those of patches."""
    return 0 if getattr(model, "no_embed_class", False) else int(getattr(model, "num_prefix_tokens", 1))


def resize_position_table(
    table: Float[Tensor, "1 T D"], grid: tuple[int, int], new_grid: tuple[int, int], num_prefix: int = 1
) -> Float[Tensor, "1 T2 D"]:
    """Resample a learned position table from one patch grid to another; prefix (CLS) slots are kept.

    Bicubic, align_corners off, no antialias: the rule of EVA-X's fine-tuning and segmentation loaders.
    """
    if tuple(grid) == tuple(new_grid):
        return table
    prefix, patches = table[:, :num_prefix], table[:, num_prefix:]
    image = patches.reshape(1, *grid, -1).permute(0, 3, 1, 2)
    precise = image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
    image = F.interpolate(precise, size=new_grid, mode="bicubic", align_corners=False).to(table.dtype)
    return torch.cat([prefix, image.flatten(2).transpose(1, 2)], dim=1)


def resize_patch_kernel(kernel: Float[Tensor, "D C P P"], patch_size: tuple[int, int]) -> Float[Tensor, "D C P2 P3"]:
    """Resample a patch embedding to another patch size, bicubic without antialias as EVA-X's EVA-02 baseline.

    The kernel's sum grows with its area: 14 to 16 pixels makes patch embeddings about 1.3 times as large.
    """
    return F.interpolate(kernel.float(), size=patch_size, mode="bicubic", align_corners=False).to(kernel.dtype)
