"""What a source hands to a pack: the table row of a film, and its pixels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

OTHER_FORM = "other_form"  # the reason of image files of forms that are not read; listed, and no loss
NO_IMAGE = "no_image"  # the reason of sound files that hold none; they are no loss
AGAIN = "fetch or export it again"  # the fix of damaged files


class Box(NamedTuple):
    """A finding's bounding box in unit coordinates (0..1) of the whole film, origin at the top left."""

    finding: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Film:
    """One row of a source's table.

    `labels` follows the source's `findings`: 1 present, 0 absent, -1 uncertain, -2 not mentioned.
    `splits` maps a scheme ("official", "sample") to "train", "val" or "test". `origin` is the collection that a film
    of a mixed data set comes from.
    """

    image_id: str
    patient_id: str
    labels: tuple[int, ...]
    splits: Mapping[str, str] = field(default_factory=dict)
    study_id: str = ""
    view: str = ""
    sex: str = ""
    age: float = math.nan
    boxes: tuple[Box, ...] = ()
    path: Path | None = None
    origin: str = ""


class Pixels(NamedTuple):
    """A decoded film: grey image (H, W), 0 black to 255 white, and named masks of the same size."""

    image: UInt8[np.ndarray, "H W"]
    masks: Mapping[str, UInt8[np.ndarray, "H W"]]


class Refusal(NamedTuple):
    """Why an item of a source is not in the pack; `reason` is a short code such as "truncated"."""

    item: str
    reason: str
    detail: str = ""


class BadFilmError(Exception):
    """A film that must not enter a pack; carries the reason code."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
