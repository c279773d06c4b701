"""The distance of outlines is that of all pairs of their pixels."""

import numpy as np
import pytest

from evax.evaluation.surface import hd95, outline

MASKS = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(bool).reshape(512, 3, 3)


def by_hand(prediction, truth):
    ours, theirs = (np.argwhere(border(mask)) for mask in (prediction, truth))
    distances = np.sqrt(((ours[:, None] - theirs[None]) ** 2).sum(-1))
    return max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95))


def border(mask):
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


@pytest.mark.parametrize("truth", [1, 16, 257, 495, 511])
def test_all_masks_of_nine_pixels(truth):
    found = [hd95(mask, MASKS[truth]) for mask in MASKS]
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [by_hand(mask, MASKS[truth]) for mask in MASKS[1:]])


def test_large_masks_far_apart():
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 5:15, 5:20] = masks[1, 20:38, 30:55] = True
    assert hd95(masks[0], masks[1]) == pytest.approx(by_hand(masks[0], masks[1]))
    assert hd95(masks[0], masks[0]) == 0.0
    np.testing.assert_array_equal(outline(masks[0]), border(masks[0]))


def test_empty_masks_have_no_distance():
    empty, spot = np.zeros((3, 3), bool), MASKS[16]
    assert all(np.isnan(hd95(*pair)) for pair in ((empty, spot), (spot, empty), (empty, empty)))
