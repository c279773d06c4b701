"""Box scores against tables made by hand, and the maps whose scores are known."""

import numpy as np
import pytest

from evax.data.film import Box
from evax.evaluation.localisation import (
    THRESHOLDS,
    box_region,
    energy,
    official_region,
    overlaps,
    pixel_auroc,
    pointing,
    score_regions,
)


def region(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


CORNER = region("##..", "##..", "....", "....")
HEAT = np.array([[0.9, 0.2, 0, 0], [0.5, 0.5, 0.3, 0], [0, 0, 0, 0], [0, 0, 0, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("threshold", "iou"),
    [
        (0.10, 4 / 6),  # six pixels above, four of them inside
        (0.20, 3 / 6),  # a pixel at the threshold is not above it
        (0.30, 3 / 5),
        (0.50, 1 / 5),
        (0.60, 1 / 5),
    ],
)
def test_iou_by_hand(threshold, iou):
    place = round(threshold * 100) - 1
    assert THRESHOLDS[place] == pytest.approx(threshold)
    assert overlaps(HEAT, CORNER)[place] == pytest.approx(iou)


def test_iou_equals_brute_force_at_every_threshold():
    random = np.random.default_rng(0)
    heat, where = random.random((9, 9), np.float32), random.random((9, 9)) < 0.3
    expected = [((heat > t) & where).sum() / ((heat > t) | where).sum() for t in THRESHOLDS.astype(np.float32)]
    np.testing.assert_allclose(overlaps(heat, where), expected)


def test_free_scores_by_hand():
    assert pointing(HEAT, CORNER) == 0
    assert pointing(np.minimum(HEAT, 0.9), CORNER) == 0.5  # two equally high pixels
    assert energy(HEAT, CORNER) == pytest.approx(2.1 / 3.4)
    # inside 0.9 .5 .5 .2 against outside 1.0, .3 and ten 0: 11 + 11 + 11 + 10 of 48 pairs
    assert pixel_auroc(HEAT, CORNER) == pytest.approx(43 / 48)


def test_an_oracle_scores_one():
    box = box_region(Box("Mass", 0.2, 0.3, 0.25, 0.4), 40)
    scores = score_regions([(box.astype(np.float32), box)])
    assert (scores.iou == 1).all()
    assert scores.pointing == scores.energy == scores.pixel_auroc == [1]


def test_a_uniform_map_scores_the_area_of_the_box():
    box = box_region(Box("Mass", 0.25, 0.5, 0.5, 0.25), 40)
    scores = score_regions([(np.full((40, 40), 0.305, np.float32), box)])
    assert scores.area == [0.125]
    assert scores.energy == pytest.approx([0.125])
    assert (scores.iou[0, :30] == 0.125).all()
    assert (scores.iou[0, 30:] == 0).all()
    assert scores.pointing == [0.125]
    assert scores.pixel_auroc == [0.5]


def test_an_empty_map_is_as_good_as_a_uniform_one():
    nothing = np.zeros((4, 4), np.float32)
    assert energy(nothing, CORNER) == 0.25
    assert (overlaps(nothing, CORNER) == 0).all()


def test_a_region_without_pixels_has_no_auroc_and_no_overlap():
    scores = score_regions([(HEAT, np.zeros((4, 4), bool))])
    assert np.isnan(scores.pixel_auroc).all()
    assert (scores.iou == 0).all()


def test_official_boxes_are_cut_to_whole_pixels_twice():
    left, width = 225.0847 / 1024, 79.9999 / 1024  # 225 -> 49.2, 79 -> 17.3
    mask = official_region(Box("Mass", left, 547.02 / 1024, width, 86.78 / 1024))  # 547 -> 119.7, 86 -> 18.8
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max() + 1) == (49, 49 + 17)
    assert (rows.min(), rows.max() + 1) == (119, 119 + 18)


def test_official_sides_survive_the_rounding_of_a_pack():
    for edge in range(0, 800, 7):
        left, right = edge / 1024, (edge + 224) / 1024
        assert official_region(Box("Mass", left, 0.0, right - left, 0.5)).sum(1)[0] == 49


def test_a_box_is_the_pixels_whose_middle_it_holds():
    assert box_region(Box("Mass", 0.0, 0.25, 0.5, 0.2), 8).sum() == 4 * 2
    assert box_region(Box("Mass", 0.51, 0.51, 0.01, 0.01), 8).sum() == 1
