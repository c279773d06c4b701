"""Frozen features of films, from any module that maps unit images to vectors."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from evax.backbones.precision import full_precision
from evax.data.pixels import normalise, to_unit

Encoder = Callable[[Tensor], Tensor]


class Features(NamedTuple):
    """One vector per film and the pack rows they belong to, ascending."""

    values: Float32[np.ndarray, "N D"]
    rows: Int64[np.ndarray, "N"]


@torch.inference_mode()
@full_precision()
def extract_features(
    encode: Encoder, batches: Iterable[dict[str, Any]], device: torch.device, dtype: torch.dtype = torch.float32
) -> Features:
    """Run unit images (B, 3, H, W) of `dtype` through `encode` -> (B, D), over all batches; float32 on the CPU."""
    values, rows = [], []
    for batch in batches:
        images = to_unit(batch["image"].to(device, non_blocking=True), dtype)
        values.append(encode(images).float().cpu().numpy())
        rows.append(np.asarray(batch["row"], dtype=np.int64))
    order = np.argsort(all_rows := np.concatenate(rows), kind="stable")
    return Features(np.concatenate(values)[order], all_rows[order])


def pooled(backbone: Any) -> Encoder:
    """The backbone's own pooled output of unit images, normalised as its weights ask."""
    config = backbone.pretrained_cfg
    return lambda images: backbone(normalise(images, config["mean"], config["std"]))
