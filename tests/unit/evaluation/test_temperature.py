import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from evax.evaluation.calibration import calibration_error_per_class
from evax.evaluation.temperature import HIGHEST, class_logits, fit_temperature, logits_of, probabilities_of


@pytest.fixture
def overconfident():
    """Logits 3 times too large, of 2 classes."""
    generator = np.random.default_rng(0)
    honest = 2 * generator.standard_normal((4000, 2))
    return 3 * honest, (generator.random((4000, 2)) < expit(honest)).astype(int)


def test_shared_temperature_is_recovered(overconfident):
    logits, targets = overconfident
    np.testing.assert_allclose(fit_temperature(logits, targets), 3, rtol=0.05)


def test_every_class_gets_its_own_temperature(overconfident):
    logits, targets = overconfident
    found = fit_temperature(logits * [1, 0.5], targets, per_class=True)
    np.testing.assert_allclose(found, [3, 1.5], rtol=0.08)


def test_fit_is_the_minimum_of_the_log_loss(overconfident):
    logits, targets = (each[:300] for each in overconfident)
    found = fit_temperature(logits, targets)[0]
    tried = np.geomspace(0.5, 10, 150)
    losses = [log_loss(targets.ravel(), expit(logits.ravel() / t)) for t in tried]
    assert found == pytest.approx(tried[np.argmin(losses)], rel=0.02)


def test_softmax_temperature_is_the_minimum_of_the_cross_entropy():
    generator = np.random.default_rng(1)
    logits = 4 * generator.standard_normal((300, 3))
    called = np.array([generator.choice(3, p=row) for row in softmax(logits / 2, axis=1)])
    found = fit_temperature(logits, np.eye(3)[called], exclusive=True)
    tried = np.geomspace(0.5, 10, 150)
    losses = [log_loss(called, softmax(logits / t, axis=1)) for t in tried]
    np.testing.assert_allclose(found, tried[np.argmin(losses)], rtol=0.02)


def test_scaling_lowers_the_calibration_error(overconfident):
    logits, targets = overconfident
    before = calibration_error_per_class(expit(logits), targets)
    after = calibration_error_per_class(probabilities_of(logits, fit_temperature(logits, targets)), targets)
    assert (after < 0.5 * before).all()


def test_unknown_films_are_not_fitted(overconfident):
    logits, targets = overconfident
    is_known = np.random.default_rng(3).random(targets.shape) < 0.5
    wrong = np.where(is_known, targets, 1 - targets)
    expected = fit_temperature(logits, targets, is_known)
    np.testing.assert_array_equal(fit_temperature(logits, wrong, is_known), expected)


def test_single_label_has_no_temperature_of_its_own():
    logits, targets = np.array([[1.0, 1.0], [-1.0, 2.0]]), np.array([[1, 0], [0, 0]])
    assert np.isnan(fit_temperature(logits, targets, per_class=True)).tolist() == [False, True]


def test_logits_without_information_stay_within_bounds():
    logits = np.array([[5.0], [-5.0]])
    assert fit_temperature(logits, np.array([[0], [1]]))[0] == pytest.approx(HIGHEST, rel=1e-3)


def test_one_softmax_has_one_temperature():
    with pytest.raises(ValueError, match="share one temperature"):
        fit_temperature(np.zeros((2, 2)), np.eye(2), per_class=True, exclusive=True)


def test_softmax_log_odds_are_those_of_the_probabilities():
    logits = np.random.default_rng(4).standard_normal((20, 4)).astype(np.float32)
    np.testing.assert_allclose(probabilities_of(logits, exclusive=True), softmax(logits, axis=1), atol=1e-7)


def test_log_odds_keep_the_order_of_confident_films():
    logits = np.array([[60.0, 0.0, 0.0], [61.0, 0.0, 0.0]], dtype=np.float32)
    found = class_logits(logits, exclusive=True)[:, 0]
    assert found[0] < found[1]


def test_logits_of_probabilities_are_finite_and_invert():
    found = logits_of(np.array([[0.0, 0.25, 1.0]], dtype=np.float32))
    assert np.isfinite(found).all()
    assert expit(found[0, 1]) == pytest.approx(0.25)
