"""From stored values of any depth to 8-bit grey."""

import numpy as np
from jaxtyping import Real, UInt8

from evax.data.film import BadFilmError

BIT_DEPTHS = (8, 10, 12, 14, 16)


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
