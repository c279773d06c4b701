"""Settings of a data module that cannot be meant, and samples that a resumed run would not see again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from evax.data.near import check_near_duplicates
from evax.data.pack import Pack
from evax.data.sides import sided

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
        raise ValueError(f"data.split={scheme} has no images in {', '.join(splits)} in the pack {pack.folder}")
    return rows


def fitting_batch(num_images: int, per_device_batch: int | None = None) -> int:
    """A batch of which an epoch has `STEPS` or more: a power of two, or that many times `per_device_batch`."""
    fitting = per_device_batch or 1
    while 2 * fitting <= num_images // STEPS:
        fitting *= 2
    return fitting


def check_batch(batch_size: int, num_images: int, per_device_batch: int | None = None, instead: str = "") -> None:
    """Refuse a batch of more than all training images; the message names one that is not, and what else may be done."""
    if batch_size <= num_images:
        return
    fitting = fitting_batch(num_images, per_device_batch)
    proposal = f"; use batch_size={fitting}{instead}" if fitting <= num_images else ""
    raise ValueError(f"batch_size={batch_size} is more than {num_images} training images{proposal}")


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
