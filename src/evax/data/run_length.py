"""Masks as text: runs of pixels counted down the columns, each from the end of the last one (SIIM-ACR)."""

from itertools import accumulate

import numpy as np
from jaxtyping import UInt8


def decode_runs(text: str, height: int, width: int) -> UInt8[np.ndarray, "H W"]:
    """The mask of "gap length gap length ...": 1 within a run, 0 elsewhere; "-1", the mask without a run.

    Raises ValueError where the text is no such list, or runs over the mask's end.
    """
    words = text.split()
    if words == ["-1"]:
        return np.zeros((height, width), np.uint8)
    if not words or len(words) % 2 or not all(word.isascii() and word.isdecimal() for word in words):
        raise ValueError("not pairs of a gap and a length")
    ends = list(accumulate(map(int, words)))  # of gap, run, gap, run, ...
    if ends[-1] > height * width:
        raise ValueError(f"runs end at pixel {ends[-1]} of {height * width}")
    changes = np.zeros(height * width + 1, np.int8)
    np.add.at(changes, ends[::2], 1)  # a gap of 0 ends one run where another begins
    np.add.at(changes, ends[1::2], -1)
    return np.cumsum(changes[:-1], dtype=np.int8).astype(np.uint8).reshape(width, height).T.copy()


def encode_runs(mask: UInt8[np.ndarray, "H W"]) -> str:
    """The runs of a mask's pixels above 0; "-1" where it has none."""
    flat = (mask.T > 0).ravel().astype(np.int8)
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=0))
    return " ".join(map(str, np.diff(ends, prepend=0))) if len(ends) else "-1"
