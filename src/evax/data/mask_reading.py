"""Masks in files: one value a pixel, never interpolated."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8, UInt16

from evax.data.film import BadFilmError
from evax.data.mask_files import BAD_MASK, OPAQUE, Palette, Stored, read_stored
from evax.data.reading import MAX_PIXELS

READING = 2  # how files become values; 1 dropped transparency, and took the places of any palette
WHITE = 255
DEEP_STEP = 257  # of a value of 8 bits that was stored in 16: 255 as 65535

Colour = tuple[int, ...]


class Mask(NamedTuple):
    """The values of a mask, and, where they stand for colours, the colour of each but background."""

    values: UInt8[np.ndarray, "H W"]
    colours: Mapping[int, Colour] = {}


def read_mask(path: Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W"]:
    """The values of a PNG mask, as `read_painted` finds them."""
    return read_painted(path, max_pixels).values


def read_painted(path: Path, max_pixels: int = MAX_PIXELS) -> Mask:
    """A PNG mask, whether its shape is in grey, in a palette, or in the transparency of one paint.

    Greys are values, those of 16 bits as far as 8 can hold them. A palette of greys stands for them; of one with
    colours, whose first must be black or transparent, the places are the values. Where all visible pixels have one
    paint and others are transparent, the shape is that of the visible ones: 255, or the grey of the paint.

    Raises BadFilmError with a reason: no_mask, too_large, or bad_mask with what is wrong and its fix.
    """
    stored = read_stored(path, max_pixels)
    if stored.alpha is None or _is_constant(stored.alpha):
        if stored.alpha is not None and not stored.alpha.any():
            return _empty(stored, path)
        return _painted(stored, path)
    return _transparent(stored, stored.alpha, path)


def _is_constant(values: Shaped[np.ndarray, "*shape"]) -> bool:
    return bool((values == values.flat[0]).all())


def _empty(stored: Stored, path: Path) -> Mask:
    """A layer on which nothing is visible."""
    if not (stored.colours == stored.colours[0, 0]).all():
        raise BadFilmError(BAD_MASK, f"{path.name} is transparent on all pixels: save it as grey without transparency")
    return Mask(np.zeros(stored.colours.shape[:2], np.uint8))


def _transparent(stored: Stored, alpha: UInt8[np.ndarray, "H W"], path: Path) -> Mask:
    """A mask with transparent pixels: those are background, where neither they nor the paint tell anything else."""
    is_visible, palette = alpha > 0, stored.palette
    is_hard = bool((is_visible == (alpha == OPAQUE)).all())
    if is_hard and palette and _has_colours(palette.colours) and ((palette.places > 0) == is_visible).all():
        return _of_places(palette)
    shown = stored.colours[is_visible]
    if not is_visible.all() and (shown == shown[0]).all():
        return _shape(alpha, shown[0], is_hard=is_hard, path=path)
    if is_hard and not stored.colours[~is_visible].any():
        return _painted(stored, path)
    raise BadFilmError(
        BAD_MASK,
        f"{path.name} varies in paint and in transparency, and either may be the shape: save it as grey without "
        "transparency, 0 background and one value a class",
    )


def _shape(alpha: UInt8[np.ndarray, "H W"], paint: Shaped[np.ndarray, "C"], *, is_hard: bool, path: Path) -> Mask:
    """What one paint shows."""
    if _has_colours(paint):
        return Mask(alpha, {OPAQUE: tuple(paint.tolist())})
    value = int(_narrow(paint[:1], path)[0])
    if is_hard and value not in (0, WHITE):  # the paint of a class
        return Mask(np.where(alpha > 0, value, 0).astype(np.uint8))
    return Mask(alpha)


def _painted(stored: Stored, path: Path) -> Mask:
    """What the paint shows, whatever its transparency."""
    palette = stored.palette
    if palette and _has_colours(palette.colours) and _is_first_background(palette):
        return _of_places(palette)
    if _has_colours(stored.colours):
        fix = "save it as grey, 0 background and one value a class"
        fix += ", or with a palette in which black is first and there once" if palette else ""
        raise BadFilmError(BAD_MASK, f"{path.name} is in colour: {fix}")
    return Mask(_narrow(stored.colours[..., 0], path))


def _has_colours(colours: Shaped[np.ndarray, "*shape C"]) -> bool:
    return bool((colours != colours[..., :1]).any())


def _is_first_background(palette: Palette) -> bool:
    """Whether the first colour of a palette is black, and no other that is used."""
    return not palette.colours[0].any() and all(palette.colours[place].any() for place in palette.used if place)


def _of_places(palette: Palette) -> Mask:
    """The places in a palette with colours as values."""
    colours = {place: tuple(palette.colours[place].tolist()) for place in palette.used if place}
    return Mask(palette.places, colours)


def _narrow(
    values: UInt8[np.ndarray, "*shape"] | UInt16[np.ndarray, "*shape"], path: Path
) -> UInt8[np.ndarray, "*shape"]:
    """Values of 16 bits as they are, or, where all were widened from 8 bits, as they were."""
    if values.max() > WHITE:
        if (values % DEEP_STEP).any():
            raise BadFilmError(
                BAD_MASK,
                f"{path.name} has values up to {values.max()}: save it with 8 bits, 0 background and one value from 1 "
                "to 255 a class",
            )
        values = values // DEEP_STEP
    return values.astype(np.uint8)
