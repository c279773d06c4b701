import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_score, recall_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from evax.evaluation.exclusive import Confusion, confusion_matrix, exclusive_scores
from evax.evaluation.patient_draws import group_by_patient
from evax.evaluation.study import LabelledFilms

FILMS = 90


@pytest.fixture
def films():
    generator = np.random.default_rng(5)
    shown = generator.integers(0, 3, FILMS)
    logits = generator.standard_normal((FILMS, 3)) + 1.5 * np.eye(3)[shown]
    return logits, np.eye(3, dtype=np.int8)[shown], generator.integers(0, 30, FILMS)


def test_matrix_equals_scikit_learn(films):
    logits, targets, _ = films
    expected = sklearn_confusion(targets.argmax(1), logits.argmax(1))
    np.testing.assert_array_equal(confusion_matrix(logits, targets), expected)


def test_rates_of_resamples_equal_scikit_learn_on_repeated_films(films):
    logits, targets, patient_ids = films
    patients = group_by_patient(patient_ids)
    counts = np.random.default_rng(1).integers(0, 4, (len(patients.names), 4))
    found = Confusion(logits, targets, patients)(counts.astype(float))
    for draw, per_patient in enumerate(counts.T):
        repeats = per_patient[patients.of_film]
        shown, called = np.repeat(targets.argmax(1), repeats), np.repeat(logits.argmax(1), repeats)
        assert found.accuracy[draw] == pytest.approx(accuracy_score(shown, called))
        np.testing.assert_allclose(found.sensitivity[draw], recall_score(shown, called, average=None))
        np.testing.assert_allclose(found.ppv[draw], precision_score(shown, called, average=None))


def test_class_never_called_has_no_ppv():
    targets = np.eye(3)
    found = Confusion(np.tile([1.0, 0, 0], (3, 1)), targets, group_by_patient(np.arange(3)))(np.ones((3, 1)))
    np.testing.assert_array_equal(found.ppv, [[1 / 3, np.nan, np.nan]])


def test_two_classes_on_one_film_are_refused():
    with pytest.raises(ValueError, match="exactly one of the classes"):
        confusion_matrix(np.zeros((1, 2)), np.ones((1, 2)))


def test_error_of_the_called_class_by_hand():
    """Two films called with 0.8, one rightly: |1/2 - 0.8| = 0.3."""
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2]])
    films = LabelledFilms(np.arange(2), np.arange(2), np.eye(2))
    found = exclusive_scores(("a", "b"), films, probabilities, np.full((2, 2), np.nan), num_draws=20)
    assert found.ece.value == pytest.approx(0.3)
    assert np.isnan(found.ece_calibrated.value)
    assert found.accuracy.value == 0.5
