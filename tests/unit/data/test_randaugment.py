import random

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import rand_augment_transform

from evax.data.keyed_random import Stream, keyed_generator
from evax.data.randaugment import RandAugmentFilm

POLICY = "rand-m6-mstd0.5-inc1"
FILM = np.add.outer(np.arange(48), 3 * np.arange(48)).astype(np.uint8)


def generator(index=0):
    return keyed_generator(3, Stream.AUGMENT, index=index)


def test_the_same_key_gives_the_same_film_and_others_differ():
    augment = RandAugmentFilm(POLICY)
    films = [augment(FILM, generator(index)).tobytes() for index in (*range(20), 0)]
    assert films[0] == films[-1]
    assert len(set(films)) > 10


def test_it_is_timms_policy_on_three_equal_channels():
    seed = int(generator().integers(2**32))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    settings = {"translate_const": 100, "img_mean": (125,) * 3, "interpolation": Image.Resampling.BICUBIC}
    theirs = np.asarray(rand_augment_transform(POLICY, settings)(Image.fromarray(FILM).convert("RGB")))
    ours = RandAugmentFilm(POLICY)(FILM, generator())
    np.testing.assert_array_equal(theirs, np.repeat(ours[..., None], 3, axis=2))


def test_the_policy_has_the_published_fifteen_operations_at_even_odds():
    policy = RandAugmentFilm(POLICY).transform
    assert (len(policy.ops), policy.num_layers, {op.prob for op in policy.ops}) == (15, 2, {0.5})
    assert {(op.magnitude, op.magnitude_std) for op in policy.ops} == {(6, 0.5)}


def test_global_generators_are_left_as_they_were():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = (random.random(), np.random.rand())  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    RandAugmentFilm(POLICY)(FILM, generator())
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002


def test_another_policy_is_refused():
    with pytest.raises(ValueError, match=r"data\.randaugment=augmix"):
        RandAugmentFilm("augmix-m3")
