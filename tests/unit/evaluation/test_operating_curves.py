import json

import numpy as np
import pytest

from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.operating_curves import GRID, operating_curves, reliability_curves
from evax.evaluation.operating_points import count, points_per_class, roc_at
from evax.evaluation.patient_draws import group_by_patient
from evax.evaluation.study import LabelledFilms

FINDINGS = ("Mass", "Edema", "Hernia")


@pytest.fixture
def films():
    generator = np.random.default_rng(1)
    targets = (generator.random((400, 3)) < [0.5, 0.2, 0]).astype(np.int8)
    scores = targets + generator.standard_normal((400, 3))
    return scores, LabelledFilms(np.arange(400), np.arange(400) // 2, targets)


@pytest.mark.parametrize("distinct", [1, 3, 400], ids=["all tied", "3 values", "hardly tied"])
def test_roc_on_a_grid_encloses_the_auroc_also_where_scores_tie(films, distinct):
    scores, labelled = films
    tied = np.floor(scores * distinct / 7)
    patients = group_by_patient(labelled.patient_ids)
    fine = np.linspace(0, 1, 20001).tolist()
    once = np.ones((200, 1))
    ladder = points_per_class(tied, labelled.targets, patients)
    areas = [np.trapezoid(roc_at(count(points, once), fine)[0], fine) for points in ladder[:2]]
    np.testing.assert_allclose(areas, auroc_per_class(tied, labelled.targets)[:2], atol=1e-4)


def test_counts_are_those_of_each_threshold():
    scores = np.array([[0.9], [0.5], [0.5], [0.5], [0.1], [0.7]])
    targets = np.array([[1], [1], [0], [0], [0], [0]])
    few = LabelledFilms(np.arange(6), np.arange(6), targets)
    found = operating_curves(scores, few, ("Mass",), num_draws=5).counts["Mass"]
    assert found == ([1, 2], [0, 3], [0, 2], 4)


def test_band_lies_around_the_mean_of_the_classes(films):
    scores, labelled = films
    found = operating_curves(*films, FINDINGS, num_draws=50)
    patients = group_by_patient(labelled.patient_ids)
    ladder = points_per_class(scores, labelled.targets, patients)[:2]
    mean = np.mean([roc_at(count(points, np.ones((200, 1))), GRID)[0] for points in ladder], axis=0)
    inside = (np.array(found.roc_band.low) <= mean) & (mean <= np.array(found.roc_band.high))
    assert inside.mean() > 0.95
    assert len(found.precision_recall_band.low) == len(GRID)


def test_class_that_cannot_be_scored_is_absent(films):
    found = operating_curves(*films, FINDINGS, num_draws=5)
    assert list(found.counts) == ["Mass", "Edema"]
    assert found.prevalence["Edema"] == pytest.approx(films[1].targets[:, 1].mean())


def test_without_any_class_there_is_no_curve(films):
    scores, labelled = films
    nothing = LabelledFilms(labelled.image_ids, labelled.patient_ids, 0 * labelled.targets)
    found = operating_curves(scores, nothing, FINDINGS)
    assert (found.counts, found.roc_band) == ({}, None)


def test_without_resamples_that_hold_every_class_there_is_no_band():
    targets = np.zeros((30, 3), np.int8)
    targets[[3, 9, 20], [0, 1, 2]] = 1
    rare = LabelledFilms(np.arange(30), np.arange(30), targets)
    found = operating_curves(np.random.default_rng(0).random((30, 3)), rare, FINDINGS, num_draws=50)
    assert len(found.counts) == 3
    assert (found.roc_band, found.precision_recall_band) == (None, None)
    json.dumps(found.to_json(), allow_nan=False)


def test_reliability_pools_known_pairs():
    films = LabelledFilms(
        np.arange(2), np.arange(2), np.array([[1, 0], [0, 1]]), np.array([[True, True], [True, False]])
    )
    probabilities = np.array([[0.9, 0.2], [0.3, 0.4]])
    found = reliability_curves(probabilities, probabilities, films, num_bins=3)
    assert [(each.num_films, each.frequency) for each in found.before] == [(1, 0.0), (1, 0.0), (1, 1.0)]
