"""Random generators that are a function of keys, never of state.

Every random choice about a sample (crop, flip, mask, phantom) is drawn from a generator keyed by the run seed,
the purpose, the epoch and the sample index. So neither the number of workers, nor the number of ranks, nor a
resume can change what a sample looks like.
"""

from enum import IntEnum
from typing import Any, cast

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class Stream(IntEnum):
    """Purpose of a draw; two purposes never share a generator."""

    PERMUTATION = 0
    AUGMENT = 1
    MASK = 2
    DROP_PATH = 3
    MODEL = 4
    PHANTOM = 5
    SPLIT = 6
    BOOTSTRAP = 7
    MONITOR = 8
    SHUFFLE = 9
    LABELS = 10


class Key(ISeedSequence):
    """Two words that are a Philox key as they are. `Philox(key=...)` would first ask the system for entropy: 15 µs."""

    def __init__(self, *words: int) -> None:
        self.words = np.array(words, np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """The key; Philox asks for its two words of 64 bits."""
        return self.words


def keyed_generator(seed: int, stream: Stream, *, epoch: int = 0, index: int = 0) -> np.random.Generator:
    """The generator of one (seed, purpose, epoch, sample); all keys are non-negative."""
    return np.random.Generator(np.random.Philox(cast("Any", Key(seed, stream)), counter=[0, 0, epoch, index]))
