"""What the values of a mask can be: a few classes, or one thing, but no soft border and no traces of JPEG."""

from collections.abc import Sequence, Set
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from evax.data.film import BadFilmError
from evax.data.mask_files import BAD_MASK, FROM_ORIGINAL

MOST_VALUES = 32  # of a mask; more are the greys of a soft border
NUMBERS = range(32)  # values that count classes; masks with larger ones are painted in greys
NEAR = 16  # how far JPEG moves values of a usual quality
NEAREST = "save the mask as PNG from its original, and resize it only by nearest neighbour"
WHITE = 255
MOST_LOOSE = 1  # greys that only lie along edges, which a thin structure may do, too
FEW = 6  # values that a message names
SMALLEST = 1e-5  # of the shares that a message tells
SQUARE = np.ones((3, 3), np.uint8)


def values_of(mask: UInt8[np.ndarray, "H W"]) -> set[int]:
    """The values of a mask."""
    return set(np.flatnonzero(np.bincount(mask.ravel())).tolist())


def class_values(mask: UInt8[np.ndarray, "H W"], path: Path, known: Set[int] = frozenset()) -> set[int]:
    """The values of a mask; BadFilmError where they are not those of classes, but of a soft border or of JPEG.

    `known` are small values that other masks show to be classes.
    """
    values = values_of(mask)
    if len(values) > MOST_VALUES:
        raise BadFilmError(
            BAD_MASK,
            f"{path.name} has {len(values)} values, as of a soft border or JPEG, and one a class is wanted: "
            f"{FROM_ORIGINAL}",
        )
    if blurred := blurred_values(mask, values, known):
        share = percent(np.isin(mask, blurred).mean())
        raise BadFilmError(
            BAD_MASK,
            f"{path.name} has {shortened(blurred)} on {share} of its pixels, along edges only, as a soft border or "
            f"JPEG leaves them: {NEAREST if max(values) in NUMBERS else FROM_ORIGINAL}",
        )
    return values


def blurred_values(mask: UInt8[np.ndarray, "H W"], values: Set[int], known: Set[int] = frozenset()) -> list[int]:
    """The values that a soft border or JPEG put beside those of classes; none where there are too few to tell.

    Such values fill no square of 3 x 3 pixels. One that JPEG made lies near a grey that does; one of a border is, on
    most of its pixels, between a darker and a brighter neighbour. Thin structures and small labels are neither. Where
    all values are small, they count classes, of which `known` are never made, and nearness tells nothing.
    """
    if len(values) < 3:
        return []
    solid = solid_values(mask)
    loose = sorted(values - solid)
    is_border = (cv2.erode(mask, SQUARE) < mask) & (mask < cv2.dilate(mask, SQUARE))
    between = [value for value in loose if is_border[mask == value].mean() > 0.5]
    if max(values) in NUMBERS:
        return [value for value in between if value not in known]
    greys = solid.difference(NUMBERS) or {max(values)}
    made = [value for value in loose if value in between or any(0 < abs(value - grey) <= NEAR for grey in greys)]
    is_of_two = all(value <= NEAR or value >= WHITE - NEAR for value in values)  # black and white, by a good JPEG
    return loose if len(made) > (0 if is_of_two else MOST_LOOSE) else []


def binary(mask: UInt8[np.ndarray, "H W"], path: Path) -> UInt8[np.ndarray, "H W"]:
    """1 where a mask of one thing shows it: above 0 where its values are labels, from half of the brightest grey on.

    A soft border is cut there. BadFilmError where greys between are more than a border.
    """
    brightest = int(mask.max())
    if brightest in NUMBERS:
        return (mask > 0).astype(np.uint8)
    is_between = (mask > NEAR) & (mask < brightest - NEAR)
    if (is_between & is_solid(mask)).any() or is_between.sum() > (mask >= brightest - NEAR).sum():
        share = percent(is_between.mean())
        raise BadFilmError(
            BAD_MASK,
            f"{path.name} has values between 0 and {brightest} on {share} of its pixels, more than a soft border: save "
            "it with one value where it shows something, and 0 elsewhere",
        )
    return (mask > brightest // 2).astype(np.uint8)


def solid_values(mask: UInt8[np.ndarray, "H W"]) -> set[int]:
    """The values that fill a square of 3 x 3 pixels somewhere."""
    return set(np.flatnonzero(np.bincount(mask[is_solid(mask)])).tolist())


def is_solid(mask: UInt8[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Where all pixels of a square of 3 x 3 are equal."""
    return cv2.erode(mask, SQUARE) == cv2.dilate(mask, SQUARE)


def shortened(values: Sequence[int]) -> str:
    """The first values, and how many others there are."""
    more = len(values) - FEW
    return ", ".join(map(str, values[:FEW])) + (f" and {more} others" if more > 0 else "")


def percent(share: float) -> str:
    """A share with a decimal, or its first digit where it is small."""
    if share < SMALLEST:
        return f"under {100 * SMALLEST:g} %"
    return f"{100 * share:.1f} %" if share >= 0.001 else f"{100 * share:.1g} %"
