"""Random generators that are a function of keys, never of state.

Every random choice about a sample (crop, flip, mask, phantom) is drawn from a generator keyed by the run seed,
the purpose, the epoch and the sample index. So neither the number of workers, nor the number of ranks, nor a
resume can change what a sample looks like.
"""

from enum import IntEnum

import numpy as np


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


def keyed_generator(seed: int, stream: Stream, *, epoch: int = 0, index: int = 0) -> np.random.Generator:
    """The generator of one (seed, purpose, epoch, sample); all keys are non-negative."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, epoch, index]))
