"""Files of masks as they are stored: paint, transparency and palette, before anything is made of them."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, UnidentifiedImageError

from evax.data.deep_png import BIT_DEPTH, is_deep_png, read_deep_png
from evax.data.film import BadFilmError
from evax.data.reading import DECODE_ERRORS, ORIENTATION
from evax.data.windowing import check_size

BAD_MASK = "bad_mask"
UPRIGHT = 1
TURNS = range(2, 9)  # the orientations of EXIF that turn or mirror
OPAQUE = 255
OTHERS = ("JPEG", "TIFF", "BMP", "GIF", "WEBP")  # told by their name
FROM_ORIGINAL = "save the mask as PNG from its original, or threshold it"


class Palette(NamedTuple):
    """The colours of a palette, and the place of each pixel in it."""

    colours: UInt8[np.ndarray, "N 3"]
    places: UInt8[np.ndarray, "H W"]

    @property
    def used(self) -> list[int]:
        """The places that pixels have, ascending."""
        return np.unique(self.places).tolist()


class Stored(NamedTuple):
    """A mask as its file holds it.

    `colours` are grey (C = 1) or red, green and blue (C = 3) of 8 or 16 bits, painted where there is a palette; `alpha`
    is 0 transparent to 255 opaque.
    """

    colours: UInt8[np.ndarray, "H W C"] | UInt16[np.ndarray, "H W C"]
    alpha: UInt8[np.ndarray, "H W"] | None = None
    palette: Palette | None = None


def read_stored(path: Path, max_pixels: int) -> Stored:
    """What a PNG file holds.

    Raises BadFilmError with a reason: no_mask, too_large, or bad_mask with what is wrong and its fix.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            check_size(image.size, max_pixels)
            image.verify()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            _check_alone_and_upright(image, path)
            return _deep(data) if is_deep_png(data) else _stored(image, data[BIT_DEPTH])
    except FileNotFoundError:
        raise BadFilmError("no_mask", path.name) from None
    except UnidentifiedImageError:
        raise BadFilmError(BAD_MASK, f"{path.name} is {_kind(data)}") from None
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise BadFilmError(
            BAD_MASK, f"{path.name} is damaged ({type(error).__name__}): fetch or export it again"
        ) from None


def turn_of(image: Image.Image) -> int:
    """The orientation that EXIF gives an image: 1 upright, 2 to 8 turned or mirrored."""
    found = image.getexif().get(ORIENTATION, UPRIGHT)
    return found if found in TURNS else UPRIGHT


def _check_alone_and_upright(image: Image.Image, path: Path) -> None:
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise BadFilmError(BAD_MASK, f"{path.name} has {frames} frames: save the one that is the mask as PNG")
    if (turn := turn_of(image)) != UPRIGHT:
        raise BadFilmError(
            BAD_MASK, f"{path.name} is turned by its EXIF orientation ({turn}): save it upright, as its image, without"
        )


def _kind(data: bytes) -> str:
    """What a file is that is no PNG, and what to do."""
    try:
        with Image.open(io.BytesIO(data), formats=OTHERS) as image:
            if image.format == "JPEG":
                return f"a JPEG file, which changes values along edges: {FROM_ORIGINAL}"
            return f"a {image.format} file: save the mask as PNG"
    except (*DECODE_ERRORS, Image.DecompressionBombError):
        return "no PNG file: save the mask as PNG"


def _deep(data: bytes) -> Stored:
    """A PNG of 16 bits a channel."""
    try:
        colours, alpha = read_deep_png(data)
    except BadFilmError as error:
        raise ValueError(error.detail) from None
    return Stored(colours, None if alpha is None else np.ceil(alpha / 257).astype(np.uint8))


def _stored(image: Image.Image, bit_depth: int) -> Stored:
    """A PNG of at most 8 bits a channel; greys of 1, 2 and 4 bits as 0..255, as any viewer shows them."""
    image.load()
    if image.mode == "P":
        return _of_palette(image)
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    values = values[..., None] if values.ndim == 2 else values
    if image.mode in ("LA", "RGBA"):
        return Stored(values[..., :-1], values[..., -1])
    key = image.info.get("transparency")  # the stored value that is transparent
    if key is None:
        return Stored(values)
    shown = np.atleast_1d(key) * (OPAQUE // (2**bit_depth - 1))
    return Stored(values, np.where((values == shown).all(-1), 0, OPAQUE).astype(np.uint8))


def _of_palette(image: Image.Image) -> Stored:
    places = np.asarray(image)
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if places.max() >= len(palette):
        raise ValueError("a place beyond the palette")
    opacity = np.full(len(palette), OPAQUE, np.uint8)
    match image.info.get("transparency"):
        case int() as place if place < len(palette):
            opacity[place] = 0
        case bytes() as table:
            opacity[: len(table)] = np.frombuffer(table, np.uint8)[: len(palette)]
    return Stored(palette[places], opacity[places], Palette(palette, places))
