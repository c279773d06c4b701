"""Films that look the same though their pixels differ: copies that were re-encoded, resized or windowed anew.

A film's likeness is a coarse dHash of 64 bits (is a cell brighter than its left neighbour, on 8 x 9 cells), by which
copies are looked up, and a fine one of 256 bits (16 x 17 cells, coarse shading taken off), by which they are told from
other chests: on 64 bits alone, chest films look alike. `docs/decisions.md` has the measurements.
"""

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from jaxtyping import Float32, Int, UInt8, UInt64

COARSE_BITS = 64
COARSE_BYTES = COARSE_BITS // 8
MAX_FINE = 12  # fine bits in which copies may differ, beside one coarse bit
THUMBNAIL, SHADING = 48, 6.0  # side, and deviation of the blur that is taken off, in its pixels
MAX_ALIKE = 256  # of films of one coarse hash, each is compared with as many that follow it


def likeness(image: UInt8[np.ndarray, "S S"]) -> bytes:
    """The coarse and then the fine hash of a film in the pack's frame, 8 and 32 bytes."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), SHADING)
    return _gradients(small, 8) + _gradients(detail, 16)


def near_duplicates(coarse: UInt64[np.ndarray, "N"], fine: UInt8[np.ndarray, "N 32"]) -> Int[np.ndarray, "P 2"]:
    """Pairs of rows, each once and the lower first, whose hashes differ in few bits; exact copies are among them."""
    found = [pairs[num_differing(fine, pairs) <= MAX_FINE] for pairs in _coarse_pairs(coarse)]
    pairs = np.sort(np.concatenate([np.empty((0, 2), np.int64), *found]), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def look_alikes(
    keys: Mapping[str, UInt64[np.ndarray, "N"]], coarse: UInt64[np.ndarray, "N"], fine: UInt8[np.ndarray, "N 32"]
) -> Int[np.ndarray, "P 2"]:
    """The near duplicates of other pixels and of another patient: films that may be one after all."""
    pairs = near_duplicates(coarse, fine)
    one, other = pairs.T
    return pairs[(keys["patient"][one] != keys["patient"][other]) & (keys["pixel"][one] != keys["pixel"][other])]


def num_differing(fine: UInt8[np.ndarray, "N 32"], pairs: Int[np.ndarray, "P 2"]) -> Int[np.ndarray, "P"]:
    """Fine bits in which the films of each pair differ."""
    return np.bitwise_count(fine[pairs[:, 0]] ^ fine[pairs[:, 1]]).sum(axis=1, dtype=np.int64)


def _coarse_pairs(coarse: UInt64[np.ndarray, "N"]) -> Iterator[Int[np.ndarray, "P 2"]]:
    """Pairs whose coarse hashes are equal but for at most one bit: equal, after that bit is masked."""
    yield from _equal_pairs(coarse)
    for bit in range(COARSE_BITS):
        masked = coarse & ~np.uint64(1 << bit)
        for pairs in _equal_pairs(masked):
            yield pairs[coarse[pairs[:, 0]] != coarse[pairs[:, 1]]]


def _equal_pairs(keys: UInt64[np.ndarray, "N"]) -> Iterator[Int[np.ndarray, "P 2"]]:
    """Pairs of rows of one key, those next to each other first."""
    order = np.argsort(keys)
    ordered = keys[order]
    places = np.arange(len(keys))
    for step in range(1, MAX_ALIKE + 1):
        places = places[places + step < len(keys)]
        places = places[ordered[places] == ordered[places + step]]
        if not len(places):
            return
        yield np.stack([order[places], order[places + step]], axis=1)


def _gradients(image: Float32[np.ndarray, "T T"], side: int) -> bytes:
    cells = cv2.resize(image, (side + 1, side), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes()
