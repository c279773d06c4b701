"""Thresholds of each protocol, AP as published, and what chance gives."""

import numpy as np
import pytest

from evax.data.film import Box
from evax.evaluation.localisation import THRESHOLDS, RegionScores, box_region, score_regions
from evax.evaluation.localisation_card import METRICS, Boxes, localisation, official_threshold, thresholds_of_others
from evax.evaluation.map_baselines import brightness_map, usual_places


def scores_of(iou):
    """Boxes whose IoU is given at 0.01 and 0.02, and 0 at higher thresholds."""
    iou = np.array(iou, np.float64)
    padded = np.concatenate([iou, np.zeros((len(iou), len(THRESHOLDS) - iou.shape[1]))], axis=1)
    half = np.full(len(iou), 0.5)
    return RegionScores(padded, half, half, half, half)


TABLE = scores_of([[0.3, 0.6], [0.3, 0.1], [0.26, 0.2], [0.2, 0.9]])
OWNERS = Boxes(np.array(["a", "b", "c", "d"]), np.array(["Mass", "Mass", "Nodule", "Nodule"]))


def test_official_numbers_by_hand():
    found = localisation(TABLE, OWNERS, ["Mass", "Nodule"], protocol="official", num_draws=20)
    assert (found.thresholds == 0.02).all()  # mAP 0.5 there, and (3/4 + 0)/2 at 0.01
    assert found.pooled["ap25"].value == 0.5
    assert found.pooled["ap50"].value == 0.5
    assert found.pooled["map"].value == 0.5
    assert found.pooled["miou"].value == pytest.approx((0.6 + 0.1 + 0.2 + 0.9) / 4)
    assert found.metrics["ap50"].per_class["Mass"].value == 0.5
    assert found.metrics["miou"].per_class["Nodule"].value == pytest.approx(0.55)


def test_of_equally_good_thresholds_the_lowest_is_taken():
    assert official_threshold(scores_of([[0.3, 0.3]]).iou) == 0


def test_clean_never_chooses_on_a_patients_own_boxes():
    iou = TABLE.iou.copy()
    before = thresholds_of_others(iou, np.arange(4))
    iou[0] = np.linspace(0, 1, len(THRESHOLDS))
    assert thresholds_of_others(iou, np.arange(4))[0] == before[0]
    # without the fourth patient 0.01 finds two boxes at 0.25 and 0.02 one at 0.25 and 0.5: equal, so the lower
    assert before[3] == 0


def test_boxes_of_a_patient_share_their_threshold():
    chosen = thresholds_of_others(TABLE.iou, np.array([0, 0, 1, 1]))
    assert chosen[0] == chosen[1]
    assert chosen[2] == chosen[3]


def test_a_lone_patient_has_no_threshold_under_clean():
    alone = Boxes(np.array(["a"] * 4), OWNERS.findings)
    found = localisation(TABLE, alone, ["Mass", "Nodule"], num_draws=5)
    assert np.isnan(found.pooled["map"].value)
    assert found.pooled["pointing"].value == 0.5
    assert np.isnan(found.thresholds).all()
    assert found.to_json()["map"]["pooled"]["value"] is None
    assert found.to_json()["threshold"] == dict.fromkeys(("median", "min", "max"))


def test_a_finding_without_boxes_is_named():
    found = localisation(TABLE, OWNERS, ["Mass", "Hernia"], num_draws=5)
    assert found.metrics["map"].not_scored == ("Hernia",)


def test_official_draws_search_their_own_threshold():
    """Two boxes that no one threshold serves: a resample of either alone is perfect."""
    found = localisation(
        scores_of([[0.9, 0.0], [0.0, 0.9]]), Boxes(np.array(["a", "b"]), np.array(["Mass"] * 2)), ["Mass"],
        protocol="official", num_draws=200,
    )  # fmt: skip
    assert found.pooled["map"].value == 0.5
    assert found.pooled["map"].high == 1


@pytest.fixture(scope="module")
def boxes():
    random = np.random.default_rng(3)
    corners, sides = random.random((60, 2)) * 0.7, 0.1 + 0.2 * random.random((60, 2))
    regions = [
        box_region(Box("Mass", *corner, *side), 56)
        for corner, side in zip(corners.tolist(), sides.tolist(), strict=True)
    ]
    return regions, Boxes(np.array([f"p{number // 2}" for number in range(60)]), np.array(["Mass"] * 60))


@pytest.mark.parametrize("protocol", ["clean", "official"])
def test_shuffled_boxes_fall_to_chance(boxes, protocol):
    regions, owners = boxes
    maps = [region.astype(np.float32) for region in regions]
    order = np.random.default_rng(0).permutation(60)
    right = localisation(score_regions(zip(maps, regions, strict=True)), owners, ["Mass"], protocol=protocol)
    wrong = localisation(
        score_regions((heat, regions[i]) for heat, i in zip(maps, order, strict=True)), owners, ["Mass"],
        protocol=protocol,
    )  # fmt: skip
    every = np.stack([region.ravel() for region in regions]).astype(np.float64)
    chance = np.mean((every @ every.T) / every.sum(1, keepdims=True) - np.eye(60)) * 60 / 59  # over all other pairs
    assert {right.pooled[name].value for name in METRICS} == {1.0}
    assert wrong.pooled["map"].value < 0.1
    assert wrong.pooled["energy"].value == pytest.approx(chance, abs=0.05)
    assert wrong.pooled["pixel_auroc"].value < 0.6


def test_noise_is_at_chance(boxes):
    regions, owners = boxes
    maps = np.random.default_rng(1).random((60, 56, 56), np.float32)
    found = localisation(score_regions(zip(maps, regions, strict=True)), owners, ["Mass"])
    assert found.pooled["pixel_auroc"].low < 0.5 < found.pooled["pixel_auroc"].high


def test_brightness_is_the_film_from_its_darkest_to_its_brightest_pixel():
    np.testing.assert_array_equal(brightness_map(np.array([[10, 20], [15, 20]], np.uint8)), [[0, 1], [0.5, 1]])
    assert not brightness_map(np.full((2, 2), 7, np.uint8)).any()


def test_usual_places_are_those_of_other_patients():
    left, right = np.zeros((2, 4, 4), bool)
    left[:, 0], right[:, 3] = True, True
    findings, patients = np.array(["Mass", "Mass", "Mass", "Nodule"]), np.array(["a", "a", "b", "c"])
    maps = list(usual_places([left, left, right, right], findings, patients))
    np.testing.assert_array_equal(maps[0], right.astype(np.float32))  # the other box of "a" does not tell
    np.testing.assert_array_equal(maps[2], left.astype(np.float32))
    assert not maps[3].any()
