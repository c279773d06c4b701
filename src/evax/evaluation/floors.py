"""Features that know nothing about disease: the scores any learned feature has to beat."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

VIEWS = ("AP", "PA")
SIDE, BORDER = 24, 3  # of the small film, and the width of its border, where lungs are rare: 44 % of the film


def pixel_features(images: Iterable[UInt8[np.ndarray, "H W"]], side: int = SIDE) -> Float32[np.ndarray, "N D"]:
    """Grey values of each film area-averaged to side x side, in [0, 1], row by row; films are read one at a time."""
    small = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).ravel() for image in images]
    return np.stack(small).astype(np.float32) / 255


def border_features(images: Iterable[UInt8[np.ndarray, "H W"]]) -> Float32[np.ndarray, "N D"]:
    """The pixel features of the film's border only: what tells classes apart here is not in the lungs."""
    return pixel_features(images)[:, is_border()]


def middle_features(images: Iterable[UInt8[np.ndarray, "H W"]]) -> Float32[np.ndarray, "N D"]:
    """The pixel features without the film's border."""
    return pixel_features(images)[:, ~is_border()]


def is_border() -> Bool[np.ndarray, "D"]:
    """Which pixel features lie in the border."""
    mask = np.ones((SIDE, SIDE), bool)
    mask[BORDER:-BORDER, BORDER:-BORDER] = False
    return mask.ravel()


def view_features(views: Sequence[str], kinds: Sequence[str] = VIEWS) -> Float32[np.ndarray, "N K"]:
    """One-hot view position in the order of `kinds`; another view is all zeros."""
    return np.array([[view == kind for kind in kinds] for view in views], dtype=np.float32)
