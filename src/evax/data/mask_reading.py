"""Masks in files: one value a pixel, never interpolated."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from evax.data.film import BadFilmError
from evax.data.reading import DECODE_ERRORS, MAX_PIXELS
from evax.data.windowing import check_size

HALF = 128  # of masks whose "on" is 255


def read_mask(path: Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W"]:
    """The values of a PNG mask, those of a palette as its indices.

    Raises BadFilmError with a reason: no_mask, or bad_mask with what is wrong.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            check_size(image.size, max_pixels)
            image.verify()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()
            return _values(image, path)
    except FileNotFoundError:
        raise BadFilmError("no_mask", path.name) from None
    except UnidentifiedImageError:
        raise BadFilmError("bad_mask", f"{path.name} is no PNG file") from None
    except DECODE_ERRORS as error:
        raise BadFilmError("bad_mask", f"{path.name}: {type(error).__name__}") from None


def values_of(mask: UInt8[np.ndarray, "H W"]) -> set[int]:
    """The values of a mask."""
    return set(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def binary(mask: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """1 where a mask of one thing shows it, whether "on" is 1, some label, or 255 with a soft border."""
    return (mask >= (HALF if mask.max() >= HALF else 1)).astype(np.uint8)


def _values(image: Image.Image, path: Path) -> UInt8[np.ndarray, "H W"]:
    values = np.asarray(image)
    if values.ndim == 3:
        colours = values[..., : 1 if image.mode == "LA" else 3]
        if (colours != colours[..., :1]).any():
            raise BadFilmError("bad_mask", f"{path.name} is in colour: one value a pixel is wanted")
        values = colours[..., 0]
    if values.min() < 0 or values.max() > 255:
        raise BadFilmError("bad_mask", f"{path.name} has values beyond 255")
    return values.astype(np.uint8)
