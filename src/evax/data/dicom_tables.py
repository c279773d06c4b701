"""The tables (LUT) of DICOM images."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Real
from pydicom import Dataset

from evax.data.film import AGAIN, BadFilmError
from evax.data.windowing import full_range

WORDS = 2**16  # values of two bytes; as many entries are written as 0


class Table(NamedTuple):
    """`entries` for the values from `first` on; values outside take the outer ones."""

    entries: Int64[np.ndarray, "N"]
    first: int
    white: float

    def __call__(self, values: Real[np.ndarray, "*S"]) -> Int64[np.ndarray, "*S"]:
        """The entry of each value."""
        places = np.rint(values).astype(np.int64) - self.first
        return self.entries[np.clip(places, 0, len(self.entries) - 1)]


def table_of(film: Dataset, sequence: str, low: float, high: float) -> Table | None:
    """The first table of a sequence of a settled image, for values from `low` to `high`, if there is one.

    `white` is the largest entry of its declared depth, or of the one that its entries need.
    Raises BadFilmError ("undecodable").
    """
    if sequence not in film:
        return None
    item = film[sequence][0]
    try:
        count, first, bits = (int(value) for value in item.LUTDescriptor)
    except (TypeError, ValueError):
        raise BadFilmError("undecodable", f"LUTDescriptor of {sequence} is not three numbers: {AGAIN}") from None
    count = count % WORDS or WORDS
    entries = _entries(item.LUTData, count, bits, is_little=film.original_encoding[1] is not False)
    if len(entries) < count:
        raise BadFilmError("undecodable", f"LUTData of {sequence} has fewer than its {count} entries: {AGAIN}")
    white = max(full_range(float(entries.max())) if entries.max() >= 2**bits else 0.0, 2.0**bits - 1)
    return Table(entries, _first(first, count, low, high), white)


def _entries(data: bytes | int | list[int], count: int, bits: int, *, is_little: bool) -> Int64[np.ndarray, "N"]:
    """Entries in words, or two of 8 bits in a word; not more than `count`."""
    if isinstance(data, bytes):
        words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if is_little else ">u2").astype("<u2")
    else:
        words = (np.atleast_1d(np.asarray(data, np.int64)) % WORDS).astype("<u2")
    is_packed = bits <= 8 and len(words) < count
    return (words.view(np.uint8) if is_packed else words)[:count].astype(np.int64)


def _first(first: int, count: int, low: float, high: float) -> int:
    """The first value that a table maps, of two bytes: signed where values may be, unless that misses all of them."""
    unsigned = first % WORDS
    signed = unsigned - WORDS if unsigned >= WORDS // 2 else unsigned
    readings = (signed, unsigned) if low < 0 else (unsigned, signed)
    return next((at for at in readings if at <= high and at + count > low), first)
