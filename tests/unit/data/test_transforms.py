import random

import albumentations as A
import cv2
import numpy as np
import pytest

from evax.data.keyed_random import Stream, keyed_generator
from evax.data.transforms import Crop, RandomCropFlip, resize

DRAWS = 2000
RAMP = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (64, 1))  # grey = column


def crop_of(film, transform, index=0, epoch=0):
    return transform(film, keyed_generator(0, Stream.AUGMENT, epoch=epoch, index=index))


def geometry(transform, index, epoch=0):
    """Flip, left, top, width and height of a crop, read from the ramps it shows."""
    across = crop_of(RAMP, transform, index, epoch).astype(float)[4]
    down = crop_of(RAMP.T.copy(), transform, index, epoch).astype(float)[:, 4]
    is_flipped = across[0] > across[-1]
    left = min(across[0], across[-1])
    return is_flipped, left, down[0], abs(across[-1] - across[0]), down[-1] - down[0]


@pytest.fixture(scope="module")
def transform():
    return RandomCropFlip(8, Crop(interpolation="bilinear"))


@pytest.fixture(scope="module")
def crops(transform):
    """(flip, left, top, width, height) over samples."""
    return np.array([geometry(transform, index) for index in range(DRAWS)], dtype=float)


def test_flips_and_crops_are_uncorrelated(crops):
    flip, left, top, width, height = crops.T
    pairs = [(flip, left), (flip, top), (flip, width), (flip, height), (flip, width * height)]
    free = np.stack([left / (255 - width + 1), top / (255 - height + 1)])  # a narrow crop has more room
    pairs += [(free[0], free[1]), (flip, free[0]), (flip, free[1])]
    assert max(abs(np.corrcoef(*pair)[0, 1]) for pair in pairs) < 0.08


def test_neighbouring_samples_and_epochs_are_uncorrelated(transform, crops):
    next_epoch = np.array([geometry(transform, index, epoch=1) for index in range(DRAWS)], dtype=float)
    for column in range(5):
        assert abs(np.corrcoef(crops[:, column], next_epoch[:, column])[0, 1]) < 0.08
        assert abs(np.corrcoef(crops[:-1, column], crops[1:, column])[0, 1]) < 0.08


def test_half_the_films_are_flipped(crops):
    assert crops[:, 0].mean() == pytest.approx(0.5, abs=0.05)


def test_areas_cover_the_published_range(crops):
    share = crops[:, 3] * crops[:, 4] / (255 * 7 / 8) ** 2  # 7 steps between the centres of 8 pixels
    assert share.min() == pytest.approx(0.2, abs=0.03)
    assert share.max() == pytest.approx(1.0, abs=0.05)


def test_equal_keys_give_equal_crops(transform):
    film = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    first = crop_of(film, transform, index=5)
    crop_of(film, transform, index=6)
    assert np.array_equal(crop_of(film, transform, index=5), first)
    assert np.array_equal(crop_of(film, RandomCropFlip(8, Crop(interpolation="bilinear")), index=5), first)


def test_every_sample_and_every_epoch_has_a_crop_of_its_own(transform):
    film = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    crops = [crop_of(film, transform, index, epoch).tobytes() for index in range(20) for epoch in range(5)]
    assert len(set(crops)) == 100


def test_global_random_states_change_nothing(transform):
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = crop_of(RAMP, transform, index=9)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(crop_of(RAMP, transform, index=9), first)


def test_the_whole_film_is_one_of_the_crops():
    whole = RandomCropFlip(64, Crop(min_area=1.0, min_ratio=1.0, max_ratio=1.0, flip=0.0, interpolation="bilinear"))
    assert np.array_equal(crop_of(RAMP, whole), RAMP)


class Fed(random.Random):
    """Python's generator, fed by NumPy's; the first draw is that of a composition that is always applied."""

    def feed(self, generator):
        self.generator, self.is_first = generator, True

    def random(self):
        if self.is_first:
            self.is_first = False
            return 0.0
        return float(self.generator.random())


@pytest.mark.parametrize("shape", [(64, 64), (90, 60), (40, 120)])
@pytest.mark.parametrize("areas", [(0.2, 1.0), (1.0, 1.0)])
def test_crops_are_those_of_albumentations(shape, areas):
    film = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    crop = Crop(min_area=areas[0], max_area=areas[1])
    resized = A.RandomResizedCrop((32, 32), areas, (crop.min_ratio, crop.max_ratio), cv2.INTER_CUBIC)
    theirs = A.Compose([A.HorizontalFlip(p=crop.flip), resized])
    for index in range(200):
        generator, fed = keyed_generator(0, Stream.AUGMENT, index=index), Fed()
        fed.feed(generator)
        theirs.set_random_state(generator, fed)
        ours = crop_of(film, RandomCropFlip(32, crop), index=index)
        assert np.array_equal(ours, theirs(image=film)["image"])


def test_flip_zero_never_flips_and_one_always_does():
    for flip in (0.0, 1.0):
        transform = RandomCropFlip(8, Crop(flip=flip))
        assert all(geometry(transform, index)[0] == bool(flip) for index in range(50))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.5, 0.4), (0.2, 1.1)])
def test_areas_outside_the_film_are_refused(low, high):
    with pytest.raises(ValueError, match=r"data\.crop\.min_area="):
        Crop(min_area=low, max_area=high)


def test_an_unknown_interpolation_lists_the_known():
    with pytest.raises(ValueError, match="interpolation=nearest is not one of bilinear, bicubic, area"):
        Crop(interpolation="nearest")


def test_resize_averages_on_the_way_down():
    film = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    means = film.reshape(16, 4, 16, 4).mean((1, 3))
    assert np.abs(resize(film, 16) - means).max() <= 0.51


def test_resize_interpolates_on_the_way_up():
    larger = resize(RAMP, 128).astype(int)
    assert larger.shape == (128, 128)
    assert np.diff(larger[0]).min() >= 0
    assert np.diff(larger[0]).max() <= 3


def test_resize_leaves_a_film_of_the_size_as_it_is():
    assert resize(RAMP, 64) is RAMP
