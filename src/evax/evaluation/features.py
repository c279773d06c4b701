"""Frozen features of films, from any module that maps unit images to vectors."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from evax.backbones.precision import full_precision
from evax.data.pixels import normalise, to_unit
from evax.progress import Step

Encoder = Callable[[Tensor], Tensor]


class Features(NamedTuple):
    """One vector per film and the pack rows they belong to, ascending."""

    values: Float32[np.ndarray, "N D"]
    rows: Int64[np.ndarray, "N"]


@torch.inference_mode()
@full_precision()
def extract_features(
    encode: Encoder,
    batches: Iterable[dict[str, Any]],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    num_images: int,
    title: str = "extracting features",
    bar: bool = True,
) -> Features:
    """Run unit images (B, 3, H, W) of `dtype` through `encode` -> (B, D), over all batches; float32 on the CPU.

    The batches hold `num_images` in all, for which there is memory once. `title` and `bar` are of what is shown.
    """
    values, rows, done = np.empty((num_images, 0), np.float32), np.empty(num_images, np.int64), 0
    with Step(title, num_images, bar=bar) as step:
        for batch in batches:
            images = to_unit(batch["image"].to(device, non_blocking=True), dtype)
            encoded = encode(images).float().cpu().numpy()
            if not values.size:
                values = np.empty((num_images, encoded.shape[1]), np.float32)
            place = slice(done, done := done + len(encoded))
            values[place], rows[place] = encoded, batch["row"]
            step.advance(len(encoded))
    assert done == num_images, f"{done} of {num_images} images came"
    if (np.diff(rows) > 0).all():
        return Features(values, rows)
    order = np.argsort(rows, kind="stable")
    return Features(values[order], rows[order])


def pooled(backbone: Any) -> Encoder:
    """The backbone's own pooled output of unit images, normalised as its weights ask."""
    config = backbone.pretrained_cfg
    return lambda images: backbone(normalise(images, config["mean"], config["std"]))
