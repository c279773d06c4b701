"""From stored values of any depth to 8-bit grey."""

import numpy as np
from jaxtyping import Real, UInt8, UInt16

from evax.data.film import BadFilmError

BIT_DEPTHS = (8, 10, 12, 14, 16)
LUMA = np.array([19595, 38470, 7471], np.uint32)  # of 65536: red, green and blue of ITU-R 601, as Pillow rounds them


def grey_from_uint16(colours: UInt16[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W"]:
    """Grey (C = 1), or the luma of red, green and blue (C = 3), in a full-range window.

    The smallest of 8, 10, 12, 14 or 16 bits that holds the values becomes 0..255.
    """
    luma = colours[..., 0] if colours.shape[2] == 1 else (colours @ LUMA + 2**15) >> 16
    return window(luma, 0.0, full_range(float(colours.max())))


def window(values: Real[np.ndarray, "H W"], low: float, high: float) -> UInt8[np.ndarray, "H W"]:
    """Values from `low` (black) to `high` (white, or the smaller of the two) as 0..255; others are clipped."""
    return np.rint(np.clip((values - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)


def full_range(highest: float) -> float:
    """The largest value of the smallest usual bit depth that holds `highest`."""
    return next((2.0**bits - 1 for bits in BIT_DEPTHS if highest < 2**bits), highest)


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a film of width x height pixels that would not fit into memory."""
    width, height = size
    if width * height > max_pixels:
        raise BadFilmError("too_large", f"{width}x{height}, more than {max_pixels} pixels")
