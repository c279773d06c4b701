"""PNG files of 16 bits a channel at their full depth: Pillow cuts all but grey ones without alpha to 8 bits."""

import io
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from evax.data.film import BadFilmError
from evax.data.windowing import full_range, window

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH, COLOUR_TYPE = 24, 25  # the places of these bytes: the first chunk is always IHDR
GREYS = (0, 4)  # the colour types without colour: 4 has alpha
LUMA = np.array([19595, 38470, 7471], np.uint32)  # of 65536: red, green and blue of ITU-R 601, as Pillow rounds them


class DeepPng(NamedTuple):
    """The stored values: grey (C = 1) or red, green and blue (C = 3), and alpha (0 transparent, 65535 opaque) if any.

    A transparent colour (tRNS) is alpha, too.
    """

    colours: UInt16[np.ndarray, "H W C"]
    alpha: UInt16[np.ndarray, "H W"] | None


def is_deep_png(data: bytes) -> bool:
    """Whether a file is a PNG of 16 bits a channel."""
    return data.startswith(SIGNATURE) and data[BIT_DEPTH : BIT_DEPTH + 1] == b"\x10"


def read_deep_png(data: bytes) -> DeepPng:
    """The stored values of a PNG of 16 bits a channel, not turned by its EXIF orientation.

    Its checksums and size are the caller's business. Raises BadFilmError ("undecodable").
    """
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise BadFilmError("undecodable", "the PNG is damaged: fetch or export it again")
    if values.ndim == 2:  # of grey, cv2 leaves the transparent value aside
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            key = image.info.get("transparency")
        alpha = None if key is None else np.where(values == key, 0, 65535).astype(np.uint16)
        return DeepPng(values[..., None], alpha)
    is_grey = data[COLOUR_TYPE] in GREYS
    colours = values[..., :1] if is_grey else values[..., 2::-1]
    return DeepPng(colours, values[..., 3] if values.shape[2] == 4 else None)


def grey_from_deep_png(data: bytes) -> UInt8[np.ndarray, "H W"]:
    """Luma, windowed by the smallest of 8, 10, 12, 14 or 16 bits that holds the values; transparency is dropped."""
    colours = read_deep_png(data).colours
    luma = colours[..., 0] if colours.shape[2] == 1 else (colours @ LUMA + 2**15) >> 16
    return window(luma, 0.0, full_range(float(colours.max())))
