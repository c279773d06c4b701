"""Features that know nothing about disease: the scores any learned feature has to beat."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

VIEWS = ("AP", "PA")


def pixel_features(images: Iterable[UInt8[np.ndarray, "H W"]], side: int = 24) -> Float32[np.ndarray, "N D"]:
    """Grey values of each film area-averaged to side x side, in [0, 1], row by row; films are read one at a time."""
    small = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).ravel() for image in images]
    return np.stack(small).astype(np.float32) / 255


def view_features(views: Sequence[str], kinds: Sequence[str] = VIEWS) -> Float32[np.ndarray, "N K"]:
    """One-hot view position in the order of `kinds`; another view is all zeros."""
    return np.array([[view == kind for kind in kinds] for view in views], dtype=np.float32)
