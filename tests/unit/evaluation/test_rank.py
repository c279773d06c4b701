import numpy as np
import pytest

from evax.evaluation.rank import rankme


def test_equal_directions_count_fully():
    assert rankme(np.eye(6)) == pytest.approx(6, rel=1e-5)


def test_copies_of_one_film_span_one_direction():
    assert rankme(np.tile(np.arange(1.0, 5), (10, 1))) == pytest.approx(1, abs=1e-4)


def test_two_unequal_directions_follow_the_entropy():
    share = np.array([0.75, 0.25])
    assert rankme(np.diag([3.0, 1.0])) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)


def test_scale_does_not_matter():
    features = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
    assert rankme(features * 1000) == pytest.approx(rankme(features), rel=1e-5)


def test_zero_features_span_nothing():
    assert rankme(np.zeros((4, 3))) == 0
