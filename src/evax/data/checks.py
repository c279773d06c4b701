"""Settings of a data module that cannot be meant, and samples that a resumed run would not see again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from evax.data.manifest import Manifest
from evax.data.near import check_near_duplicates
from evax.data.pack import Pack
from evax.data.sides import sided
from evax.data.sources.folder import FolderSource
from evax.data.sources.masks import MaskFolderSource

SPLITS = ("train", "val", "test")
REDRAWS = {source.name: source.redraw for source in (FolderSource, MaskFolderSource)}  # of images of one's own
STEPS = 10  # of an epoch, at least, where a batch is proposed


class ResumeError(RuntimeError):
    """A resumed run would see other samples than the run it continues."""


def check_choice(
    *,
    fraction: float,
    fraction_of: str | None,
    near_duplicates: str,
    has_labels: bool,
    has_masks: bool,
    needs_labels: bool,
) -> None:
    """Refuse a share of films, and labels or masks, that nothing could be made of."""
    if not 0 < fraction <= 1:
        raise ValueError(f"data.fraction={fraction} must be in (0, 1]")
    if fraction_of not in (None, "patients", "films"):
        raise ValueError(f"data.fraction_of={fraction_of} is not known; use patients or films")
    if needs_labels and not has_labels:
        raise ValueError("data.sampling and data.shuffle_labels need labels; use model=classifier")
    if has_labels and has_masks:
        raise ValueError("data.labels and data.masks are two tasks: set data.masks=null to classify, or data.labels")
    check_near_duplicates(near_duplicates)


def check_sizes(image_size: int, patch_size: int, resize_to: int | None, *, has_masks: bool, hides: bool) -> None:
    """Refuse to hide patches off their grid, and to read the middle of films where it is not there or masks need all.

    Whether a backbone's own patches cover the films is the task's to say, where `hides` is False.
    """
    if hides and image_size % patch_size:
        raise ValueError(f"image_size={image_size} is not a multiple of the patch size {patch_size}")
    if resize_to is not None and has_masks:
        raise ValueError(f"data.resize_to={resize_to} leaves out what masks show at the border; set it to null")
    if resize_to is not None and resize_to < image_size:
        raise ValueError(f"data.resize_to={resize_to} must be at least image_size={image_size}")


def check_mirror(flip: float, classes: Iterable[str]) -> None:
    """Refuse to mirror training films where a mirror exchanges classes of their masks."""
    if flip > 0 and (names := sided(classes)):
        raise ValueError(f"data.crop.flip={flip:g}: a mirror makes another side of {names[0]}; set data.crop.flip=0")


def check_resumed(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other data than a checkpoint's; the gate may know more by now."""
    for key, value in now.items():
        if key != "gate" and saved[key] != value:
            raise ResumeError(
                f"the checkpoint was written with data {key}={saved[key]}, but the run now has {value}; "
                "restore the pack, or start a new run from these weights with weights=RUN_DIR"
            )


def rows_in(pack: Pack, scheme: str, splits: Sequence[str]) -> Int[np.ndarray, "R"]:
    """Rows of a pack in any of the splits of a scheme, ascending; ValueError naming the scheme where there are none."""
    rows = np.flatnonzero(pack.is_in(scheme, splits))
    if not len(rows):
        counts = {split: int(pack.is_in(scheme, (split,)).sum()) for split in SPLITS}
        held = ", ".join(f"{count:,} {split}" for split, count in counts.items() if count) or "none"
        known = not set(splits) - set(SPLITS)
        fix = filling(pack.manifest, splits) if known else f"its splits are {', '.join(SPLITS)}"
        raise ValueError(
            f"data.split={scheme} has no images in {', '.join(splits)} in the pack {pack.folder}: it has {held}; {fix}"
        )
    return rows


def filling(manifest: Manifest, splits: Sequence[str]) -> str:
    """How to come by images in splits of a pack that has none there."""
    schemes: Mapping[str, Mapping[str, int]] = manifest.counts.get("splits", {})
    if full := next((name for name, counts in schemes.items() if all(counts.get(split) for split in SPLITS)), None):
        return f"use data.split={full}"
    redraw = REDRAWS.get(manifest.source)
    if redraw and not manifest.provenance.get("splits", "").startswith("drawn"):
        return f"prepare again with images in {', '.join(splits)}, or with {redraw} to draw all splits by patient"
    return "prepare again with more patients"


def fitting_batch(num_images: int, smallest: int = 1) -> int | None:
    """A batch of which an epoch has `STEPS` or more: `smallest` times a power of two; None where that is too large."""
    if smallest > num_images:
        return None
    fitting = smallest
    while 2 * fitting <= num_images // STEPS:
        fitting *= 2
    return fitting


def check_batch(batch_size: int, num_images: int, smallest: int = 1, instead: str = "") -> None:
    """Refuse a batch of more than all training images; the message names one that is not, and what else may be done.

    `smallest` is what all devices together take at once.
    """
    if batch_size <= num_images:
        return
    fitting = fitting_batch(num_images, smallest)
    fix = f"use batch_size={fitting}" if fitting else "lower it, per_device_batch or trainer.devices"
    raise ValueError(f"batch_size={batch_size} is more than {num_images} training images; {fix}{instead}")


def accumulation(global_batch: int, per_device_batch: int, world_size: int) -> int:
    """Micro-batches per optimizer step. Raises ValueError where the global batch does not divide.

    A device's share may be smaller than `per_device_batch`, which says what fits on one.
    """
    share, rest = divmod(global_batch, world_size)
    if rest or share == 0:
        raise ValueError(f"batch_size={global_batch} does not divide over {world_size} devices; choose a multiple")
    together = min(per_device_batch, share)
    if share % together:
        raise ValueError(
            f"batch_size={global_batch} does not divide into {world_size} devices x per_device_batch="
            f"{per_device_batch}; choose a multiple of {per_device_batch * world_size}, or change per_device_batch"
        )
    return share // together
