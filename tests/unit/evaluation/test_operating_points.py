import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.bootstrap import auroc_draws
from evax.evaluation.operating_points import (
    auroc_of,
    average_precision_of,
    count,
    operating_points,
    points_per_class,
    precision_at,
    sensitivity_at,
    specificity_at,
)
from evax.evaluation.patient_draws import group_by_patient, resample

FILMS = 70


@pytest.fixture
def films():
    """Coarse scores with many ties, targets, and patients of several films."""
    generator = np.random.default_rng(3)
    targets = (generator.random((FILMS, 3)) < 0.3).astype(np.int8)
    scores = np.round(6 * (generator.random((FILMS, 3)) + 0.4 * targets)).astype(np.float32)
    return scores, targets, generator.integers(0, 25, FILMS)


def counted_once(scores, targets, is_known=None):
    patients = group_by_patient(np.arange(len(scores)))
    return count(operating_points(scores, targets, patients, is_known), np.ones((len(scores), 1)))


def counted_with(scores, targets, repeats):
    patients = group_by_patient(np.arange(len(scores)))
    return count(operating_points(scores, targets, patients), repeats.astype(float))


def best_sensitivity(scores, targets, specificity):
    """By trying every threshold."""
    tried = [(((scores < t) & (targets == 0)).sum(), (scores >= t)[targets == 1].mean()) for t in [*scores, np.inf]]
    return max(found for right, found in tried if right >= specificity * (targets == 0).sum() - 1e-9)


def best_specificity(scores, targets, sensitivity):
    tried = [((scores < t)[targets == 0].mean(), (scores >= t)[targets == 1].mean()) for t in [*scores, np.inf]]
    return max(right for right, found in tried if found >= sensitivity - 1e-9)


def test_average_precision_equals_scikit_learn_under_ties(films):
    scores, targets, _ = films
    for c in range(3):
        expected = average_precision_score(targets[:, c], scores[:, c])
        assert average_precision_of(counted_once(scores[:, c], targets[:, c]))[0] == pytest.approx(expected, abs=1e-12)


def test_resampled_average_precision_is_that_of_repeated_films(films):
    scores, targets, _ = films
    repeats = np.random.default_rng(0).integers(0, 4, (FILMS, 6))
    found = average_precision_of(counted_with(scores[:, 0], targets[:, 0], repeats))
    expected = [average_precision_score(np.repeat(targets[:, 0], n), np.repeat(scores[:, 0], n)) for n in repeats.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_areas_and_their_draws_equal_those_of_the_rankings(films):
    scores, targets, patient_ids = films
    patients = group_by_patient(patient_ids)
    ladder = points_per_class(scores, targets, patients)

    def aurocs(counts):
        return np.stack([auroc_of(count(points, counts)) for points in ladder], axis=1)

    value, draws = resample(aurocs, patients, num_draws=70, seed=4)
    np.testing.assert_array_equal(value, auroc_per_class(scores, targets))
    np.testing.assert_array_equal(draws, auroc_draws(scores, targets, patient_ids, num_draws=70, seed=4))


@pytest.mark.parametrize("wanted", [0.0, 0.5, 0.7, 0.9, 0.95, 1.0])
def test_sensitivity_and_specificity_equal_a_search_over_thresholds(films, wanted):
    scores, targets, _ = films
    counted = counted_once(scores[:, 0], targets[:, 0])
    assert sensitivity_at(counted, [wanted])[0, 0] == pytest.approx(
        best_sensitivity(scores[:, 0], targets[:, 0], wanted)
    )
    if wanted:
        expected = best_specificity(scores[:, 0], targets[:, 0], wanted)
        assert specificity_at(counted, [wanted])[0, 0] == pytest.approx(expected)


def test_nine_of_ten_negatives_are_a_specificity_of_point_nine():
    scores = np.append(np.arange(10.0), 8.5)
    targets = np.append(np.zeros(10), 1)
    assert sensitivity_at(counted_once(scores, targets), [0.9])[0, 0] == 1.0


def test_sensitivity_of_resamples_is_that_of_repeated_films(films):
    scores, targets, _ = films
    repeats = np.random.default_rng(1).integers(0, 3, (FILMS, 5))
    found = sensitivity_at(counted_with(scores[:, 1], targets[:, 1], repeats), [0.8])[:, 0]
    expected = [best_sensitivity(np.repeat(scores[:, 1], n), np.repeat(targets[:, 1], n), 0.8) for n in repeats.T]
    np.testing.assert_allclose(found, expected)


def test_sensitivity_over_false_positive_rates_is_the_roc_curve(films):
    scores, targets, _ = films
    false_positive_rate, sensitivity, _ = roc_curve(targets[:, 0], scores[:, 0], drop_intermediate=False)
    found = sensitivity_at(counted_once(scores[:, 0], targets[:, 0]), (1 - false_positive_rate).tolist())[0]
    highest = [sensitivity[false_positive_rate == x].max() for x in false_positive_rate]
    np.testing.assert_allclose(found, highest)


def test_precision_at_the_recall_of_each_positive_averages_to_average_precision(films):
    scores, targets, _ = films
    counted = counted_once(scores[:, 2], targets[:, 2])
    num_positives = int(targets[:, 2].sum())
    precision = precision_at(counted, [(i + 1) / num_positives for i in range(num_positives)])[0]
    assert precision.mean() == pytest.approx(average_precision_of(counted)[0])


def test_unknown_films_do_not_count(films):
    scores, targets, _ = films
    is_known = np.random.default_rng(2).random(FILMS) < 0.6
    marked = np.where(is_known, targets[:, 0], -1)
    found = average_precision_of(counted_once(scores[:, 0], marked, is_known))[0]
    assert found == pytest.approx(average_precision_score(targets[is_known, 0], scores[is_known, 0]))


@pytest.mark.parametrize("label", [0, 1])
def test_single_label_is_nan_everywhere(label):
    counted = counted_once(np.array([0.2, 0.8]), np.array([label, label]))
    found = [auroc_of(counted)[0], average_precision_of(counted)[0]]
    found += [at(counted, [0.9])[0, 0] for at in (sensitivity_at, specificity_at, precision_at)]
    assert all(math.isnan(value) for value in found)


def test_class_without_a_model_is_nan():
    counted = counted_once(np.full(3, np.nan), np.array([0, 1, 1]))
    assert math.isnan(auroc_of(counted)[0])
