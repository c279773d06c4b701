import numpy as np
import pytest

from evax.data.film import Box
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.paired import Pair, PairedAugment, Photometric, resize_mask
from evax.data.transforms import Crop

SIDE = 240
BOX = Box("Mass", 0.3, 0.4, 0.25, 0.2)
WHOLE = Crop(min_area=1.0, min_ratio=1.0, max_ratio=1.0, interpolation="bilinear")
COLUMNS = np.tile(np.linspace(0, 255, SIDE).round().astype(np.uint8), (SIDE, 1))  # grey = column


def key(index, epoch=0):
    return keyed_generator(3, Stream.AUGMENT, epoch=epoch, index=index)


def boxed(side=SIDE):
    """The mask of BOX."""
    mask = np.zeros((side, side), np.uint8)
    left, top, right, bottom = (round(edge * side) for edge in (BOX.x, BOX.y, BOX.x + BOX.width, BOX.y + BOX.height))
    mask[top:bottom, left:right] = 1
    return mask


def extent(mask):
    """Left, top, right and bottom of what a mask shows, in unit coordinates; None of nothing."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    height, width = mask.shape
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


@pytest.mark.parametrize("size", [64, 240, 333])
@pytest.mark.parametrize("crop", [Crop(min_area=0.1, interpolation="bilinear"), WHOLE], ids=["crop", "whole"])
def test_film_mask_and_boxes_stay_in_step(size, crop):
    """Columns and rows are written into two films, which the same generator moves as it moves mask and box."""
    augment = PairedAugment(size, crop)
    seen = set()
    for index in range(60):
        across = augment(Pair(COLUMNS, COLUMNS, (BOX,)), key(index))
        down = augment(Pair(COLUMNS.T.copy(), boxed(), (BOX,)), key(index))
        step = 255 / SIDE + 255 / size  # of grey, from a pixel to the next one of either grid
        assert np.abs(across.image.astype(int) - across.mask).max() <= step + 1
        inside = extent(down.mask)
        assert len(across.boxes) == len(down.boxes) <= 1
        if inside is None:
            assert not down.boxes or min(down.boxes[0].width, down.boxes[0].height) < 2 / size
            continue
        box = down.boxes[0]
        edges = box.x, box.y, box.x + box.width, box.y + box.height
        assert np.abs(np.subtract(edges, inside)).max() <= 1.01 / size
        rows = down.image[:, 0][round(inside[1] * size) : round(inside[3] * size)] / 255
        assert rows.min() >= BOX.y - 2 / SIDE - 2 / size
        assert rows.max() <= BOX.y + BOX.height + 2 / SIDE + 2 / size
        seen.add(bool(across.image[0, 0] > across.image[0, -1]))
    assert seen == {True, False}


def test_a_whole_box_keeps_its_share_of_a_whole_film():
    for index in range(10):
        pair = PairedAugment(120, WHOLE)(Pair(COLUMNS, boxed(), (BOX,)), key(index))
        assert (pair.boxes[0].width, pair.boxes[0].height) == pytest.approx((BOX.width, BOX.height))
        assert pair.mask.mean() == pytest.approx(BOX.width * BOX.height, abs=1e-6)


def test_a_box_outside_the_crop_is_dropped():
    crop = Crop(min_area=0.05, max_area=0.05)
    pairs = [PairedAugment(64, crop)(Pair(COLUMNS, boxed(), (BOX,)), key(index)) for index in range(40)]
    assert {len(pair.boxes) for pair in pairs} == {0, 1}
    assert all(pair.boxes or not pair.mask.any() for pair in pairs)


def test_masks_keep_their_values_at_any_size():
    mask = np.random.default_rng(0).choice(np.array([0, 3, 200], np.uint8), (50, 50))
    for size in (20, 50, 77):
        assert set(np.unique(resize_mask(mask, size))) <= {0, 3, 200}
    assert np.array_equal(resize_mask(mask, 50), mask)


def test_resized_masks_do_not_move():
    """The middle of a mask stays where it is: nearest pixels are found by their centres."""
    mask = np.zeros((90, 90), np.uint8)
    mask[30:60, 30:60] = 1
    for size in (30, 270):
        assert np.array_equal(resize_mask(mask, size), np.flip(resize_mask(mask, size)))


def test_exposure_changes_the_film_alone_and_in_the_published_range():
    film = np.full((8, 8), 100, np.uint8)
    greys = np.array([Photometric()(film, key(index))[0, 0] for index in range(2000)], int)
    assert (greys == 100).mean() == pytest.approx(0.25, abs=0.04)  # neither of two steps at 0.5
    assert greys.min() >= (100 - 32) * 0.5 - 1
    assert greys.max() <= (100 + 32) * 1.5
    assert greys.min() < 45 < 180 < greys.max()
    pair = Pair(COLUMNS, boxed(), (BOX,))
    plain, exposed = (
        PairedAugment(SIDE, WHOLE, change)(pair, key(7)) for change in (None, Photometric(probability=1.0))
    )
    assert not np.array_equal(plain.image, exposed.image)
    assert np.array_equal(plain.mask, exposed.mask)
    assert plain.boxes == exposed.boxes


def test_equal_keys_give_equal_samples():
    augment = PairedAugment(64, Crop(), Photometric())
    pair = Pair(COLUMNS, boxed(), (BOX,))
    first, again, other = (augment(pair, key(index)) for index in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("settings", [{"brightness": -1.0}, {"min_contrast": 0.0}, {"min_contrast": 2.0}])
def test_an_impossible_exposure_is_refused(settings):
    with pytest.raises(ValueError, match=r"data\.photometric: brightness="):
        Photometric(**settings)
