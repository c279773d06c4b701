"""Ways to read a frozen ViT: which blocks' tokens become a film's vector, and how."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from evax.data.module import PackDataModule
from evax.data.pixels import normalise
from evax.evaluation.features import extract_features

READOUTS = ("pooled", "last_block", "four_block_means", "four_blocks")


def read(backbone: Any, images: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B _"]]:
    """Every readout of unit images, from one forward pass.

    `pooled` is the backbone's own output; the others are means over patch tokens of the last block, or of four
    blocks at equal distances (3, 6, 9 and 12 of twelve), without or with the deviations over tokens. A CNN has the
    first alone.
    """
    inputs = normalise(images, backbone.pretrained_cfg["mean"], backbone.pretrained_cfg["std"])
    if not hasattr(backbone, "blocks"):
        return {"pooled": backbone(inputs)}
    depth = len(backbone.blocks)
    blocks = sorted({math.ceil(quarter * depth / 4) - 1 for quarter in (1, 2, 3, 4)})
    final, tokens = backbone.forward_intermediates(inputs, indices=blocks, output_fmt="NLC")
    means, deviations = [t.mean(1) for t in tokens], [t.std(1) for t in tokens]
    return {
        "pooled": backbone.forward_head(final),
        "last_block": torch.cat([means[-1], deviations[-1]], dim=-1),
        "four_block_means": torch.cat(means, dim=-1),
        "four_blocks": torch.cat(means + deviations, dim=-1),
    }


def encode_rows(
    backbone: Any,
    names: Sequence[str],
    data: PackDataModule,
    rows: Int[np.ndarray, "N"],
    *,
    title: str = "extracting features",
) -> dict[str, Float32[np.ndarray, "N _"]]:
    """Readouts of whole films in the order of `rows`, each the mean over the film and its mirror image.

    `title` names the step where its progress is shown.
    """
    if not hasattr(backbone, "blocks") and list(names) != ["pooled"]:
        raise ValueError(f"readouts={list(names)}: {type(backbone).__name__} has no blocks; set readouts=[pooled]")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = backbone.to(device)
    widths: list[int] = []

    def both_sides(images: Tensor) -> Tensor:
        sides = read(backbone, images), read(backbone, images.flip(-1))
        parts = [(sides[0][name] + sides[1][name]) / 2 for name in names]
        widths[:] = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=-1)

    batches = data.local_loader(data.dataset(rows, mask=False))
    values = extract_features(both_sides, batches, device, num_images=len(rows), title=title).values
    return dict(zip(names, np.split(values, np.cumsum(widths)[:-1], axis=1), strict=True))
