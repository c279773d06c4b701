import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from evax.evaluation.decisions import Decisions, best_f1_threshold, best_f1_thresholds
from evax.evaluation.patient_draws import group_by_patient

FILMS = 60


@pytest.fixture
def films():
    generator = np.random.default_rng(8)
    targets = (generator.random((FILMS, 2)) < 0.3).astype(np.int8)
    scores = np.round(generator.random((FILMS, 2)) + 0.5 * targets, 1)
    return scores, targets, generator.integers(0, 20, FILMS)


def test_best_threshold_equals_a_search_over_all_scores(films):
    scores, targets, _ = films
    tried = {t: f1_score(targets[:, 0], scores[:, 0] >= t) for t in np.unique(scores[:, 0])}
    found = best_f1_threshold(scores[:, 0], targets[:, 0])
    assert tried[found] == max(tried.values())


def test_higher_of_two_equal_thresholds_is_taken():
    scores, targets = np.array([4.0, 3.0, 2.0, 1.0, 0.0]), np.array([1, 0, 0, 1, 0])  # F1 is 2/3 at 4 and at 1
    assert best_f1_threshold(scores, targets) == 4.0


def test_unknown_films_choose_nothing(films):
    scores, targets, _ = films
    is_known = np.random.default_rng(0).random(targets.shape) < 0.7
    found = best_f1_thresholds(scores, np.where(is_known, targets, -1), is_known)
    expected = [best_f1_threshold(scores[k, c], targets[k, c]) for c, k in enumerate(is_known.T)]
    np.testing.assert_array_equal(found, expected)


def test_class_without_positives_has_no_threshold():
    assert np.isnan(best_f1_threshold(np.array([0.1, 0.2]), np.array([0, 0])))


def test_rates_of_resamples_equal_scikit_learn_on_repeated_films(films):
    scores, targets, patient_ids = films
    patients = group_by_patient(patient_ids)
    counts = np.random.default_rng(2).integers(0, 4, (len(patients.names), 5))
    thresholds = np.array([0.6, 0.9])
    rates = Decisions(scores, targets, thresholds, patients)(counts.astype(float))
    for draw, per_patient in enumerate(counts.T):
        repeats = per_patient[patients.of_film]
        for c in range(2):
            wanted, called = np.repeat(targets[:, c], repeats), np.repeat(scores[:, c] >= thresholds[c], repeats)
            assert rates.f1[draw, c] == pytest.approx(f1_score(wanted, called))
            assert rates.sensitivity[draw, c] == pytest.approx(recall_score(wanted, called))
            assert rates.specificity[draw, c] == pytest.approx(recall_score(1 - wanted, ~called))
            assert rates.ppv[draw, c] == pytest.approx(precision_score(wanted, called))


def test_rates_of_nothing_are_nan():
    scores, targets = np.array([[0.1, 0.1], [0.2, 0.2]]), np.array([[0, 1], [0, 0]])
    patients = group_by_patient(np.arange(2))
    rates = Decisions(scores, targets, np.array([0.5, 0.5]), patients)(np.ones((2, 1)))
    np.testing.assert_array_equal(rates.f1, [[np.nan, 0.0]])
    np.testing.assert_array_equal(rates.sensitivity, [[np.nan, 0.0]])
    np.testing.assert_array_equal(rates.ppv, [[np.nan, np.nan]])
    np.testing.assert_array_equal(rates.specificity, [[1.0, 1.0]])


def test_class_without_threshold_is_not_decided(films):
    scores, targets, patient_ids = films
    patients = group_by_patient(patient_ids)
    rates = Decisions(scores, targets, np.array([0.5, np.nan]), patients)(np.ones((len(patients.names), 1)))
    assert np.isnan([rate[0, 1] for rate in rates]).all()
    assert not np.isnan([rate[0, 0] for rate in rates]).any()
