from itertools import combinations

import numpy as np
import pytest

from evax.data.keyed_random import Stream, keyed_generator

KEYS = [
    (0, Stream.AUGMENT, 0, 0),
    (1, Stream.AUGMENT, 0, 0),
    (0, Stream.MASK, 0, 0),
    (0, Stream.AUGMENT, 1, 0),
    (0, Stream.AUGMENT, 0, 1),
]


def draws(seed, stream, epoch, index, count=2000):
    return keyed_generator(seed, stream, epoch=epoch, index=index).random(count)


def test_equal_keys_give_equal_draws():
    assert np.array_equal(draws(*KEYS[0]), draws(*KEYS[0]))


@pytest.mark.parametrize(("a", "b"), list(combinations(range(len(KEYS)), 2)))
def test_any_other_key_gives_an_independent_stream(a, b):
    first, second = draws(*KEYS[a]), draws(*KEYS[b])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08
    assert not np.isin(first, second).any()


def test_streams_of_neighbouring_samples_do_not_overlap():
    long = draws(0, Stream.AUGMENT, 0, 0, count=100_000)
    assert not np.isin(draws(0, Stream.AUGMENT, 0, 1, count=1000), long).any()


def test_first_draws_over_samples_are_uniform():
    first = np.array([draws(0, Stream.AUGMENT, 0, index, count=1)[0] for index in range(2000)])
    assert np.histogram(first, bins=10, range=(0, 1))[0] == pytest.approx(np.full(10, 200), abs=60)


def test_purposes_have_numbers_of_their_own():
    assert len({int(stream) for stream in Stream}) == len(Stream.__members__)


def test_a_stream_is_numpys_philox_of_the_same_key_and_counter():
    for seed, stream, epoch, index in KEYS:
        philox = np.random.Philox(key=[seed, stream], counter=[0, 0, epoch, index])
        assert np.array_equal(draws(seed, stream, epoch, index), np.random.Generator(philox).random(2000))
