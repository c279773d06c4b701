"""The elements of a DICOM image that decide on its grey, with what is empty, alone or in other places put right."""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer
from pydicom import Dataset
from pydicom.multival import MultiValue

from evax.data.film import AGAIN, BadFilmError

PAIRS = (("RescaleSlope", "RescaleIntercept"), ("WindowCenter", "WindowWidth"))
TABLES = ("ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence")
TEXTS = ("PhotometricInterpretation", "PresentationLUTShape", "VOILUTFunction")
FUNCTIONS = {"LINEAR": 1.0, "LINEAR_EXACT": math.ulp(0.0), "SIGMOID": math.ulp(0.0)}  # with their least width
PADDING, PADDING_LIMIT = "PixelPaddingValue", "PixelPaddingRangeLimit"
WORD = 2**16


def numbers(film: Dataset, keyword: str) -> list[float | None]:
    """The numbers of an element, None for each that is empty; [] where there is none.

    Raises BadFilmError ("undecodable") for what is no finite number.
    """
    try:
        value: Any = film.get(keyword)
        values = value if isinstance(value, (MultiValue, list, tuple)) else [value]
        found = [None if item is None or not str(item).strip() else float(item) for item in values]
    except (TypeError, ValueError, ArithmeticError):
        found = [math.nan]
    if any(item is not None and not math.isfinite(item) for item in found):
        raise BadFilmError("undecodable", f"{keyword} is not a number: {AGAIN}")
    return [] if all(item is None for item in found) else found


def whole(film: Dataset, keyword: str, default: int | None = None) -> int:
    """The whole number of an element, or the default for none; raises BadFilmError ("undecodable")."""
    found = numbers(film, keyword)
    if not found and default is not None:
        return default
    if len(found) != 1 or found[0] is None or not found[0].is_integer():
        raise BadFilmError("undecodable", f"{keyword} is {'not one whole number' if found else 'missing'}: {AGAIN}")
    return int(found[0])


def settle(film: Dataset) -> None:
    """Leave to a single-frame image only what applies, in one form.

    Elements of functional groups move to the image, and the high bit is known. What is empty goes: a rescale slope
    without its intercept, a window without centre or of no width, a table without content; so do rescale beside a
    modality table and all windows but the first. Raises BadFilmError for values without meaning.
    """
    _flatten(film)
    for keyword in TEXTS:
        if keyword in film:
            film[keyword].value = str(film[keyword].value or "").strip().upper()
    film.HighBit = whole(film, "HighBit", whole(film, "BitsStored") - 1)
    for keyword in TABLES:
        items = film.get(keyword)
        if keyword in film and not (items and all(items[0].get(name) for name in ("LUTDescriptor", "LUTData"))):
            del film[keyword]
    for pair in PAIRS:
        kept = _first_pair(film, pair)
        for keyword, value in zip(pair, kept or (None, None), strict=True):
            if keyword in film:
                del film[keyword]
            if value is not None:
                setattr(film, keyword, value)


def padding_of(
    film: Dataset, cells: Integer[np.ndarray, "H W"], stored: Integer[np.ndarray, "H W"]
) -> Bool[np.ndarray, "H W"]:
    """Which pixels are padding: of the stored values, or of the whole words, in a range that padding has."""
    if not numbers(film, PADDING):
        return np.zeros(stored.shape, bool)
    start = whole(film, PADDING)
    ends = (start, whole(film, PADDING_LIMIT, start))
    is_padding = _between(stored, ends, film.BitsStored)
    if film.HighBit == film.BitsStored - 1:  # else a word is not a value
        is_padding |= _between(cells, ends, film.BitsAllocated)
    return is_padding


def _between(values: Integer[np.ndarray, "H W"], ends: tuple[int, int], bits: int) -> Bool[np.ndarray, "H W"]:
    """Which values of so many bits are between two, each of them written signed or not."""
    is_signed = values.dtype.kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    wraps = (0, -WORD, -(2**bits)) if is_signed else (0, WORD)
    found = [next((end + wrap for wrap in wraps if low <= end + wrap <= high), None) for end in ends]
    known = [end for end in found if end is not None]
    if len(known) < len(ends):
        return np.zeros(values.shape, bool)
    return (values >= min(known)) & (values <= max(known))


def _flatten(film: Dataset) -> None:
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in list(film.get(groups) or [])[:1]:
            for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in list(group.get(macro) or [])[:1]:
                    film.update({element.tag: element for element in item if element.tag not in film})


def _first_pair(film: Dataset, pair: tuple[str, str]) -> tuple[float, float] | None:
    """The first two numbers that stand together and mean something."""
    if pair[0] == "RescaleSlope" and "ModalityLUTSequence" in film:
        return None
    found = [(a, b) for a, b in zip(*(numbers(film, name) for name in pair), strict=False) if None not in (a, b)]
    if pair[0] == "WindowCenter":
        return next((window for window in found if window[1] >= _least_width(film)), None)
    if found and found[0][0] == 0:
        raise BadFilmError("undecodable", f"RescaleSlope is 0: {AGAIN}")
    return found[0] if found else None


def _least_width(film: Dataset) -> float:
    function = film.get("VOILUTFunction") or "LINEAR"
    if function not in FUNCTIONS:
        raise BadFilmError("mode", f"VOILUTFunction={function}: export it with {' or '.join(FUNCTIONS)}")
    return FUNCTIONS[function]
