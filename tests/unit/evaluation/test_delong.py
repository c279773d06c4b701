import math

import numpy as np
import pytest

from evax.evaluation.auroc import auroc
from evax.evaluation.delong import delong_covariance, delong_test, holm

FILMS = 50


@pytest.fixture
def films():
    """Two related methods, with ties within and across the classes."""
    generator = np.random.default_rng(6)
    targets = (generator.random(FILMS) < 0.4).astype(int)
    shared = generator.standard_normal(FILMS) + targets
    return np.round(shared + 0.7 * generator.standard_normal((2, FILMS)), 1), targets


def brute_force(scores, targets):
    """AUROCs and covariance from all pairs (DeLong et al. 1988)."""
    wins = [
        (np.subtract.outer(row[targets == 1], row[targets == 0]) > 0)
        + 0.5 * (np.subtract.outer(row[targets == 1], row[targets == 0]) == 0)
        for row in scores
    ]
    of_positives, of_negatives = [win.mean(1) for win in wins], [win.mean(0) for win in wins]
    covariance = np.cov(of_positives) / len(of_positives[0]) + np.cov(of_negatives) / len(of_negatives[0])
    return [win.mean() for win in wins], covariance


def test_covariance_equals_brute_force(films):
    areas = delong_covariance(*films)
    expected, covariance = brute_force(*films)
    np.testing.assert_allclose(areas.auroc, expected, atol=1e-12)
    np.testing.assert_allclose(areas.covariance, covariance, atol=1e-12)


def test_area_is_the_auroc(films):
    scores, targets = films
    np.testing.assert_allclose(delong_covariance(*films).auroc, [auroc(row, targets) for row in scores])


def test_p_is_that_of_the_normal_distribution(films):
    scores, targets = films
    expected, covariance = brute_force(scores, targets)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = delong_test(scores[0], scores[1], targets)
    assert found.difference == pytest.approx(expected[0] - expected[1])
    assert found.standard_error == pytest.approx(error)
    assert found.p == pytest.approx(math.erfc(abs(found.difference) / error / math.sqrt(2)))


def test_p_is_uniform_when_methods_are_alike():
    generator = np.random.default_rng(0)
    targets = (np.arange(200) % 3 == 0).astype(int)
    p = [delong_test(*(targets + generator.standard_normal((2, 200))), targets).p for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_method_against_itself_is_no_difference(films):
    scores, targets = films
    assert delong_test(scores[0], scores[0], targets) == (0.0, 0.0, 1.0)


def test_difference_without_variance_has_no_p():
    scores, targets = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    found = delong_test(scores, -scores, targets)
    assert found.difference == 1.0
    assert math.isnan(found.p)


@pytest.mark.parametrize("targets", [[0, 0, 0], [1, 1, 1], [0, 0, 1]])
def test_too_few_films_of_a_class_have_no_variance(targets):
    found = delong_test(np.array([0.1, 0.5, 0.3]), np.array([0.2, 0.1, 0.4]), np.array(targets))
    assert math.isnan(found.standard_error)
    assert math.isnan(found.p)


def test_unknown_films_do_not_count(films):
    scores, targets = films
    is_known = np.random.default_rng(1).random(FILMS) < 0.7
    found = delong_test(*scores, np.where(is_known, targets, -1), is_known)
    assert found == delong_test(*scores[:, is_known], targets[is_known])


def test_holm_of_a_worked_example():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005])), [0.03, 0.06, np.nan, 0.06, 0.02])
