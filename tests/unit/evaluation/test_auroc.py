import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import multilabel_auroc

from evax.evaluation.auroc import auroc, auroc_per_class, macro, rank_films, resampled_auroc

FILMS, CLASSES = 60, 4


@pytest.fixture
def draw():
    generator = np.random.default_rng(3)
    targets = (generator.random((FILMS, CLASSES)) < 0.3).astype(np.int8)
    return generator.random((FILMS, CLASSES)).astype(np.float32), targets


def test_equals_scikit_learn(draw):
    scores, targets = draw
    expected = [roc_auc_score(targets[:, c], scores[:, c]) for c in range(CLASSES)]
    np.testing.assert_allclose(auroc_per_class(scores, targets), expected, atol=1e-12)


def test_equals_scikit_learn_under_heavy_ties(draw):
    scores, targets = draw
    coarse = np.round(scores * 3).astype(np.float32)
    expected = [roc_auc_score(targets[:, c], coarse[:, c]) for c in range(CLASSES)]
    np.testing.assert_allclose(auroc_per_class(coarse, targets), expected, atol=1e-12)


def test_equals_torchmetrics(draw):
    scores, targets = draw
    expected = multilabel_auroc(torch.tensor(scores), torch.tensor(targets).long(), CLASSES, average=None)
    np.testing.assert_allclose(auroc_per_class(scores, targets), expected, atol=1e-6)


def test_resampled_equals_repeated_films(draw):
    scores, targets = draw
    counts = np.random.default_rng(0).integers(0, 4, (FILMS, 5))
    coarse = np.round(scores[:, 0] * 8).astype(np.float32)
    found = resampled_auroc(rank_films(coarse, targets[:, 0]), counts)
    expected = [roc_auc_score(np.repeat(targets[:, 0], n), np.repeat(coarse, n)) for n in counts.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_resample_without_a_class_is_undefined():
    ranking = rank_films(np.array([0.1, 0.9]), np.array([0, 1]))
    found = resampled_auroc(ranking, np.array([[1, 2, 0], [1, 0, 2]]))
    np.testing.assert_array_equal(found, [1.0, np.nan, np.nan])


@pytest.mark.parametrize(
    "monotone",
    [lambda s: s + 7, lambda s: 1 / (1 + np.exp(-s)), lambda s: s**3],
    ids=["shift", "sigmoid", "cube"],
)
def test_invariant_under_monotone_maps(draw, monotone):
    scores, targets = draw
    scores = 4 * scores.astype(np.float64) - 2
    np.testing.assert_array_equal(auroc_per_class(monotone(scores), targets), auroc_per_class(scores, targets))


def test_invariant_under_order_of_films(draw):
    scores, targets = draw
    order = np.random.default_rng(1).permutation(FILMS)
    np.testing.assert_array_equal(auroc_per_class(scores[order], targets[order]), auroc_per_class(scores, targets))


@pytest.mark.parametrize("label", [0, 1])
def test_single_label_is_nan(label):
    assert math.isnan(auroc(np.array([0.2, 0.8]), np.array([label, label])))


def test_large_logits_keep_their_order():
    assert auroc(np.array([98.0, 99.0, 100.0, 101.0], dtype=np.float32), np.array([0, 0, 1, 1])) == 1.0


def test_unknown_films_do_not_count(draw):
    scores, targets = draw
    is_known = np.random.default_rng(2).random(targets.shape) < 0.6
    marked = np.where(is_known, targets, -1)
    expected = [roc_auc_score(targets[is_known[:, c], c], scores[is_known[:, c], c]) for c in range(CLASSES)]
    np.testing.assert_allclose(auroc_per_class(scores, marked, is_known), expected, atol=1e-12)


def test_wholly_unknown_class_is_nan(draw):
    scores, targets = draw
    is_known = np.ones(targets.shape, dtype=bool)
    is_known[:, 2] = False
    assert np.isnan(auroc_per_class(scores, targets, is_known)).tolist() == [False, False, True, False]


def test_uncertain_label_is_refused():
    with pytest.raises(ValueError, match="mask the others"):
        auroc(np.array([0.2, 0.8]), np.array([-1, 1]))


def test_wholly_missing_scores_are_nan():
    assert math.isnan(auroc(np.array([np.nan, np.nan]), np.array([0, 1])))


def test_partly_missing_scores_are_refused():
    with pytest.raises(ValueError, match="1 of 2 scores"):
        auroc(np.array([np.nan, 0.5]), np.array([0, 1]))


def test_macro_leaves_undefined_classes_out():
    assert macro(np.array([1.0, 1.0, np.nan])) == (1.0, 2)


def test_macro_of_nothing_is_nan():
    value, num_defined = macro(np.array([np.nan]))
    assert math.isnan(value)
    assert num_defined == 0
