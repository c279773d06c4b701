import numpy as np
import pytest

from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.operating_curves import GRID, operating_curves, reliability_curves
from evax.evaluation.study import LabelledFilms

FINDINGS = ("Mass", "Edema", "Hernia")


@pytest.fixture
def films():
    generator = np.random.default_rng(1)
    targets = (generator.random((400, 3)) < [0.5, 0.2, 0]).astype(np.int8)
    scores = targets + generator.standard_normal((400, 3))
    return scores, LabelledFilms(np.arange(400), np.arange(400) // 2, targets)


def test_curves_enclose_their_areas(films):
    scores, labelled = films
    found = operating_curves(scores, labelled, FINDINGS, num_draws=20)
    areas = [np.mean(curve) for curve in found.roc.values()]
    np.testing.assert_allclose(areas, auroc_per_class(scores, labelled.targets)[:2], atol=0.01)


def test_mean_curve_lies_in_its_band(films):
    found = operating_curves(*films, FINDINGS, num_draws=50)
    np.testing.assert_allclose(found.roc_macro.value, np.mean(list(found.roc.values()), axis=0))
    for band in (found.roc_macro, found.precision_recall_macro):
        inside = (np.array(band.low) <= band.value) & (band.value <= np.array(band.high))
        assert inside.mean() > 0.95
        assert len(band.value) == len(GRID)


def test_class_that_cannot_be_scored_is_absent(films):
    found = operating_curves(*films, FINDINGS, num_draws=5)
    assert list(found.roc) == ["Mass", "Edema"]
    assert found.prevalence["Edema"] == pytest.approx(films[1].targets[:, 1].mean())


def test_without_any_class_there_is_no_curve(films):
    scores, labelled = films
    nothing = LabelledFilms(labelled.image_ids, labelled.patient_ids, 0 * labelled.targets)
    assert operating_curves(scores, nothing, FINDINGS).roc_macro is None


def test_precision_ends_at_the_prevalence(films):
    scores, labelled = films
    scores = np.where(labelled.targets == 1, np.minimum(scores, scores.min() - 1), scores)  # positives rank last
    found = operating_curves(scores, labelled, FINDINGS, num_draws=5)
    assert found.precision_recall["Mass"][-1] == pytest.approx(found.prevalence["Mass"])


def test_reliability_pools_known_pairs():
    films = LabelledFilms(
        np.arange(2), np.arange(2), np.array([[1, 0], [0, 1]]), np.array([[True, True], [True, False]])
    )
    probabilities = np.array([[0.9, 0.2], [0.3, 0.4]])
    found = reliability_curves(probabilities, probabilities, films, num_bins=3)
    assert [(each.num_films, each.frequency) for each in found.before] == [(1, 0.0), (1, 0.0), (1, 1.0)]
