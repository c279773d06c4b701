import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from evax.evaluation.calibration import (
    BrierScore,
    CalibrationError,
    bin_numbers,
    brier_per_class,
    calibration_error_per_class,
    reliability,
)
from evax.evaluation.patient_draws import group_by_patient

# Two bins of width 1/2. Lower: 0.1, 0.3 and 0.5 (it holds its upper edge), one positive: |1/3 - 0.3| = 1/30.
# Upper: 0.6 and 1.0, one positive: |1/2 - 0.8| = 0.3. ECE = 3/5 * 1/30 + 2/5 * 0.3 = 0.14.
WORKED = np.array([0.1, 0.3, 0.5, 0.6, 1.0])[:, None]
WORKED_TARGETS = np.array([0, 0, 1, 0, 1])[:, None]
# Two bins of equal mass: 0.1, 0.3, 0.5 and 0.6, 1.0 again. With three: {0.1, 0.3}, {0.5, 0.6}, {1.0}:
# 2/5 * 0.2 + 2/5 * 0.05 + 1/5 * 0 = 0.1.


@pytest.mark.parametrize(("num_bins", "kind", "expected"), [(2, "width", 0.14), (2, "mass", 0.14), (3, "mass", 0.1)])
def test_calibration_error_of_worked_examples(num_bins, kind, expected):
    found = calibration_error_per_class(WORKED, WORKED_TARGETS, num_bins=num_bins, kind=kind)
    assert found[0] == pytest.approx(expected)


def test_one_bin_is_the_gap_of_the_means():
    assert calibration_error_per_class(WORKED, WORKED_TARGETS, num_bins=1)[0] == pytest.approx(0.1)


def test_edges_belong_to_the_bin_below():
    assert bin_numbers(np.array([0.0, 0.2, 0.21, 0.4, 1.0]), num_bins=5).tolist() == [0, 0, 1, 1, 4]


def test_equal_probabilities_share_a_bin_of_equal_mass():
    bins = bin_numbers(np.array([0.1, 0.1, 0.1, 0.1, 0.9, 0.8]), num_bins=3, kind="mass")
    assert len(set(bins[:4])) == 1
    assert bins[4] == bins[5]


def test_bins_of_equal_mass_are_equally_full():
    bins = bin_numbers(np.random.default_rng(0).random(300), kind="mass")
    np.testing.assert_array_equal(np.bincount(bins), 20)


def test_reliability_lists_bins_that_hold_films():
    found = reliability(WORKED[:, 0], WORKED_TARGETS[:, 0], num_bins=4)
    assert [each.num_films for each in found] == [1, 2, 1, 1]
    assert (found[1].probability, found[1].frequency) == pytest.approx((0.4, 0.5))


def test_brier_equals_scikit_learn():
    generator = np.random.default_rng(1)
    probabilities, targets = generator.random((40, 3)), (generator.random((40, 3)) < 0.4).astype(int)
    expected = [brier_score_loss(targets[:, c], probabilities[:, c]) for c in range(3)]
    np.testing.assert_allclose(brier_per_class(probabilities, targets), expected)


@pytest.mark.parametrize("score", [BrierScore, CalibrationError])
def test_resample_is_the_score_of_repeated_films(score):
    generator = np.random.default_rng(2)
    probabilities, targets = generator.random((30, 2)), generator.integers(0, 2, (30, 2))
    patients = group_by_patient(generator.integers(0, 12, 30))
    counts = generator.integers(0, 4, (len(patients.names), 3))
    found = score(probabilities, targets, patients)(counts.astype(float))
    for draw, per_patient in enumerate(counts.T):
        rows = np.repeat(np.arange(30), per_patient[patients.of_film])
        single = group_by_patient(np.zeros(len(rows)))
        expected = score(probabilities[rows], targets[rows], single)(np.ones((1, 1)))[0]
        np.testing.assert_allclose(found[draw], expected)


def test_unknown_and_unscored_classes_are_nan():
    probabilities = np.array([[0.2, np.nan, 0.5], [0.4, np.nan, 0.5]])
    targets, is_known = np.zeros((2, 3)), np.array([[True, True, False], [False, True, False]])
    for per_class in (brier_per_class, calibration_error_per_class):
        found = per_class(probabilities, targets, is_known)
        assert np.isnan(found).tolist() == [False, True, True]
    assert brier_per_class(probabilities, targets, is_known)[0] == pytest.approx(0.04)


def test_logits_are_refused():
    with pytest.raises(ValueError, match="logits were given"):
        brier_per_class(np.array([[2.0]]), np.array([[1]]))
