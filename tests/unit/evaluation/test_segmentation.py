"""Masks are counted as by hand: on all pairs of 3 x 3 masks, at every threshold, and with several classes."""

import numpy as np
import pytest

from evax.evaluation.segmentation import (
    FN,
    THRESHOLDS,
    check_classes,
    confusion,
    count_film,
    counts_by_threshold,
    decide,
    dice,
    fitted_thresholds,
    jaccard,
    stack,
)
from evax.evaluation.segmentation_card import Segmented, segmentation_card
from evax.evaluation.segmentation_scores import SCORES, metrics_of_masks, numbers_of_films, quantities, scores_of
from evax.evaluation.surface import hd95

POPCOUNT = np.array([bin(number).count("1") for number in range(512)])
ALL = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(bool).reshape(512, 3, 3)


@pytest.fixture(scope="module")
def every_pair():
    """Counts (512, 512, 4) of each of the 2^9 masks as prediction and as truth."""
    return confusion(np.repeat(ALL[:, None], 512, 1), np.repeat(ALL[None], 512, 0))


def test_dice_and_jaccard_of_all_pairs_are_those_of_sets_of_bits(every_pair):
    ours, theirs = np.arange(512)[:, None], np.arange(512)[None]
    both, either = POPCOUNT[ours & theirs], POPCOUNT[ours | theirs]
    total = POPCOUNT[ours] + POPCOUNT[theirs]
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(dice(every_pair), 2 * both / total)
        np.testing.assert_array_equal(jaccard(every_pair), both / either)
    assert every_pair.sum(-1).min() == every_pair.sum(-1).max() == 9


def test_scores_of_sets_of_all_masks_are_those_by_hand(every_pair):
    """One set a prediction: it is shown for all 512 truths."""
    films = stack([film_of(every_pair.reshape(-1, 4)[0])] * 1)
    background = every_pair[..., [3, 2, 1, 0]]
    counts = np.stack([background, every_pair], -2).reshape(-1, 2, 4)
    distances = np.full((len(counts), 1), np.nan)
    sums = quantities(films._replace(counts=counts, hd95=distances)).reshape(512, 512, 2, -1).sum(1)
    found = dict(zip(SCORES, np.moveaxis(scores_of(sums)[:, :, 1], 1, 0), strict=True))
    size = POPCOUNT[:, None]
    both = POPCOUNT[np.arange(512)[:, None] & np.arange(512)[None]]
    per_film = np.where(size + POPCOUNT > 0, 2 * both / np.maximum(size + POPCOUNT, 1), 1)
    pooled = 2 * both.sum(1) / (512 * POPCOUNT + POPCOUNT.sum())
    np.testing.assert_allclose(found["dice_pooled"], pooled)
    np.testing.assert_allclose(found["jaccard_pooled"], pooled / (2 - pooled))
    np.testing.assert_allclose(found["dice_per_image"], per_film.mean(1))
    np.testing.assert_allclose(found["dice_positives"], per_film[:, 1:].mean(1))
    np.testing.assert_array_equal(found["film_sensitivity"], np.arange(512) > 0)
    np.testing.assert_allclose(found["film_hit_rate"], (both > 0).sum(1) / 511)
    np.testing.assert_array_equal(found["film_specificity"], np.arange(512) == 0)
    assert np.isnan(found["hd95_px"]).all()


def film_of(counts, distance=np.nan):
    """A film of one class, with its background."""
    from evax.evaluation.segmentation import FilmCounts

    curve = np.repeat(counts[None, None], len(THRESHOLDS), 1)
    return FilmCounts(curve, np.stack([counts[[3, 2, 1, 0]], counts]), np.array([distance]))


@pytest.mark.parametrize(
    ("prediction", "truth", "per_image", "sensitivity", "specificity"),
    [(0, 0, 1.0, np.nan, 1.0), (7, 0, 0.0, np.nan, 0.0), (0, 7, 0.0, 0.0, np.nan), (7, 7, 1.0, 1.0, np.nan)],
)
def test_the_four_cases_of_empty_masks(prediction, truth, per_image, sensitivity, specificity):
    films = stack([film_of(confusion(ALL[prediction], ALL[truth]), hd95(ALL[prediction], ALL[truth]))])
    metrics = metrics_of_masks(films, np.array(["p"]), ["spot"], num_draws=3, seed=0)
    found = {name: metric.per_class["spot"].value for name, metric in metrics.items()}
    np.testing.assert_equal(found["dice_per_image"], per_image)
    np.testing.assert_equal(found["dice_positives"], per_image if truth else np.nan)
    np.testing.assert_equal(found["dice_pooled"], np.nan if not prediction and not truth else per_image)
    np.testing.assert_equal(found["film_sensitivity"], sensitivity)
    np.testing.assert_equal(found["film_specificity"], specificity)
    np.testing.assert_equal(found["hd95_px"], 0.0 if prediction and truth else np.nan)
    numbers = numbers_of_films(films, ["spot"])["spot"]
    assert numbers["positive"] + numbers["empty"] == numbers["films"] == 1
    assert numbers["missed"] == (truth > 0 and prediction == 0)
    assert numbers["false_alarms"] == (truth == 0 and prediction > 0)
    assert metrics["dice_positives"].not_scored == (() if truth else ("spot",))


def test_mean_with_background_is_that_of_both_classes():
    films = stack([film_of(np.array([3, 1, 2, 10])), film_of(np.array([0, 4, 0, 12]))])
    metric = metrics_of_masks(films, np.array(["p", "q"]), ["spot"], num_draws=3, seed=0)["dice_with_background"]
    assert metric.per_class["spot"].value == pytest.approx(6 / 13)
    assert metric.per_class["background"].value == pytest.approx(44 / 51)
    assert metric.macro.value == pytest.approx((6 / 13 + 44 / 51) / 2)


def test_every_threshold_is_counted_as_by_comparing_with_it():
    generator = np.random.default_rng(0)
    scores = generator.random((9, 13), dtype=np.float32)
    scores[0, :5] = [0, 1, THRESHOLDS[29], THRESHOLDS[0], THRESHOLDS[98]]  # on a threshold is not above it
    truth = generator.random((9, 13)) < 0.3
    expected = np.stack([confusion(scores > threshold, truth) for threshold in THRESHOLDS])
    np.testing.assert_array_equal(counts_by_threshold(scores, truth), expected)


def test_fitted_threshold_is_the_best_by_hand():
    generator = np.random.default_rng(1)
    truth = generator.random((6, 8, 8)) < 0.2
    scores = (0.3 * truth + 0.6 * generator.random((6, 8, 8))).astype(np.float32)
    curve = np.stack([counts_by_threshold(*film) for film in zip(scores, truth, strict=True)])[:, None]
    by_hand = [2 * (truth & (scores > t)).sum() / (truth.sum() + (scores > t).sum()) for t in THRESHOLDS]
    chosen = fitted_thresholds(curve)[0]
    assert by_hand[round(chosen * 100) - 1] == max(by_hand)
    assert max(by_hand) > by_hand[0]


def test_threshold_of_a_plateau_is_next_to_the_middle_and_of_an_absent_class_the_middle():
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    sure = counts_by_threshold(np.where(truth, 0.4, 0.2).astype(np.float32), truth)
    absent = counts_by_threshold(np.full((4, 4), 0.7, np.float32), np.zeros((4, 4), bool))
    np.testing.assert_allclose(fitted_thresholds(np.stack([sure, absent])[None]), [0.39, 0.5])


def test_several_classes_share_no_pixel_and_the_counts_are_of_the_decided_mask():
    generator = np.random.default_rng(2)
    odds = generator.dirichlet(np.ones(3), (10, 10)).transpose(2, 0, 1).astype(np.float32)
    truth = generator.integers(0, 3, (10, 10)).astype(np.uint8)
    thresholds = np.array([0.35, 0.2])
    mask = decide(odds[1:], thresholds)
    expected = np.where(odds[1] >= odds[2], (odds[1] > 0.35) * 1, (odds[2] > 0.2) * 2)
    np.testing.assert_array_equal(mask, expected)
    film = count_film(odds[1:], truth, thresholds)
    for value in range(3):
        np.testing.assert_array_equal(film.counts[value], confusion(mask == value, truth == value))
    np.testing.assert_array_equal(film.curve[0, 34], film.counts[1])
    np.testing.assert_array_equal(film.curve[1, 19], film.counts[2])


def test_a_card_says_what_few_images_of_a_class_allow():
    counts = [np.array([3, 1, 2, 10])] * 2 + [np.array([0, 4, 0, 12])] * 4
    films = Segmented(np.arange(6), np.array(list("aabcde")), stack([film_of(each) for each in counts]))
    val = np.zeros((4, 1, 99, 4), np.int64)
    val[:2, ..., FN] = 5
    card = segmentation_card(("spot",), films, val, np.array([0.5]), "validation films", num_draws=30)
    assert card.remarks == {"spot": "2 positives"}
    assert card.no_interval["spot"] == "1 positive patient"
    assert card.threshold_remarks == {"spot": "threshold fitted on 2 positives"}
    assert np.isnan(card.metrics["dice_positives"].per_class["spot"].low)
    assert not np.isnan(card.metrics["dice_per_image"].per_class["spot"].low)
    none = segmentation_card(("spot",), films, 0 * val, np.array([0.5]), "validation films", num_draws=3)
    assert none.threshold_remarks == {"spot": "0.5: no validation image shows it"}
    assert segmentation_card(("spot",), films, val, np.array([0.3]), "official", num_draws=3).threshold_remarks == {}


def test_a_mask_of_255_is_refused_not_scored():
    with pytest.raises(ValueError, match="a mask holds 255, and there are 1 classes"):
        check_classes(np.full((3, 3), 255, np.uint8), 1)


def test_intervals_are_over_patients():
    """Films of one patient are drawn together: with one patient nothing varies, and there is no interval."""
    films = stack([film_of(np.array([3, 1, 2, 10])), film_of(np.array([0, 4, 1, 11]))])
    once = metrics_of_masks(films, np.array(["p", "p"]), ["spot"], num_draws=20, seed=0)["dice_pooled"].macro
    assert np.isnan([once.low, once.high]).all()
    apart = metrics_of_masks(films, np.array(["p", "q"]), ["spot"], num_draws=20, seed=0)["dice_pooled"].macro
    assert apart.low < apart.value < apart.high
