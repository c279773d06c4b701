"""The solver against scikit-learn, on every kind of table that a probe meets."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from evax.evaluation import logistic
from evax.evaluation.logistic import Problems, principal_directions, solve

GRID = (1e-4, 1e-3, 1e-2, 0.1, 1.0)


def table(num_films, width, seed=0):
    """Standardised features with a steep spectrum, and four findings of 50 to 2 % that they tell a part of."""
    generator = np.random.default_rng(seed)
    hidden = generator.standard_normal((num_films, width)) / np.arange(1, width + 1)
    features = standardised(hidden @ generator.standard_normal((width, width)))
    logits = features @ generator.standard_normal((width, 4)) / width**0.5 + generator.logistic(size=(num_films, 4))
    limits = np.sort(logits, axis=0)[[num_films // 2, -num_films // 5, -num_films // 20, -max(3, num_films // 50)]]
    return features, (logits > np.diag(limits)).astype(np.int8)


def standardised(features):
    return ((features - features.mean(0)) / features.std(0)).astype(np.float32)


def solved(features, targets, is_known=None, grid=GRID):
    """Weights, offsets and whether they are optimal, for each C."""
    signs = np.where(np.ones(targets.shape, bool) if is_known is None else is_known, 2 * targets - 1, 0)
    shared = torch.from_numpy(features)
    scales = torch.ones(signs.shape[1], features.shape[1]).double()
    problems = Problems(shared, torch.tensor(signs.T, dtype=torch.float32), scales)
    for solution in solve(problems, principal_directions(shared), grid):
        yield solution.weights.clone().numpy(), solution.offsets.clone().numpy(), solution.is_optimal


def check(features, targets, is_known=None, grid=GRID):
    """Weights and AUROC of each finding and penalty are those of scikit-learn."""
    for strength, (weights, offsets, is_optimal) in zip(grid, solved(features, targets, is_known, grid), strict=True):
        assert is_optimal.all()
        for column, (own, offset) in enumerate(zip(weights, offsets, strict=True)):
            known = slice(None) if is_known is None else is_known[:, column]
            model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000, solver="newton-cholesky")
            model.fit(features[known].astype(np.float64), targets[known, column])
            theirs = model.coef_[0]
            assert np.linalg.norm(own - theirs) <= 1e-3 * np.linalg.norm(theirs)
            assert offset == pytest.approx(model.intercept_[0], abs=1e-2)
            rows, labels = features[known], targets[known, column]
            assert roc_auc_score(labels, rows @ own) == pytest.approx(roc_auc_score(labels, rows @ theirs), abs=1e-3)


@pytest.mark.parametrize(("num_films", "width"), [(400, 20), (120, 120), (60, 200)])
def test_equals_scikit_learn(num_films, width):
    check(*table(num_films, width))


def test_equals_scikit_learn_where_labels_are_unknown():
    features, targets = table(400, 20)
    check(features, targets, np.random.default_rng(1).random(targets.shape) < 0.6)


def test_one_positive():
    features, targets = table(200, 10)
    targets[:] = 0
    targets[7] = 1
    check(features, targets)


def test_separable_findings():
    features, targets = table(150, 10)
    targets[:, 0], targets[:, 1] = features[:, 0] > 0, features[:, 1] > 1.5
    check(features, targets, grid=(*GRID, 10.0, 1e3))


def test_columns_that_are_equal_or_nearly_or_constant():
    features, targets = table(200, 10)
    nearly = features + 1e-3 * np.random.default_rng(0).standard_normal(features.shape).astype(np.float32)
    check(np.concatenate([features, features, nearly, np.zeros((200, 2), np.float32)], axis=1), targets)


def test_outliers():
    features, targets = table(200, 10)
    features[3] *= 1000
    check(standardised(features**3), targets)


def test_features_that_tell_nothing_get_no_weight():
    features = np.tile(np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32), (20, 1))
    targets = np.tile([[1], [1], [0], [0]], (20, 1))
    for weights, offsets, is_optimal in solved(features, targets):
        assert is_optimal.all()
        assert abs(weights).max() < 1e-9
        assert abs(offsets).max() < 1e-9


def test_every_c_is_solved_alone_or_after_others():
    features, targets = table(120, 30)
    path = [weights for weights, *_ in solved(features, targets)]
    ((alone, *_),) = solved(features, targets, grid=GRID[-1:])
    assert np.linalg.norm(path[-1] - alone) < 2 * logistic.TOLERANCE * np.linalg.norm(alone)


@pytest.mark.parametrize("num_films", [2, 3, 30])
def test_extreme_penalties_end_in_finite_weights(num_films):
    features = standardised(np.arange(num_films)[:, None] ** np.array([[1, 2]]))
    targets = np.arange(num_films)[:, None] % 2
    for weights, offsets, _ in solved(features, targets, grid=(1e-12, 1e-3, 1e4, 1e8)):
        assert np.isfinite(weights).all()
        assert np.isfinite(offsets).all()


def test_scaled_features_are_the_features_divided():
    features, targets = table(200, 10)
    scales = np.linspace(0.5, 2, 40).reshape(4, 10)
    shared = torch.from_numpy(features)
    signs = torch.tensor(2.0 * targets.T - 1, dtype=torch.float32)
    problems = Problems(shared, signs, torch.from_numpy(scales))
    (solution,) = solve(problems, principal_directions(shared), [0.1])
    for column in range(4):
        model = LogisticRegression(C=0.1, tol=1e-8, solver="newton-cholesky")
        model.fit(features / scales[column], targets[:, column])
        np.testing.assert_allclose(solution.weights[column], model.coef_[0], atol=1e-3)
        logits = model.decision_function(features / scales[column])
        np.testing.assert_allclose(solution.logits[column], logits, atol=1e-2)


def test_directions_of_other_films_change_the_way_and_not_the_optimum():
    features, targets = table(120, 30)
    shared, (own, *_) = torch.from_numpy(features), list(solved(features, targets))[-1]
    problems = Problems(shared, torch.tensor(2.0 * targets.T - 1, dtype=torch.float32), torch.ones(4, 30).double())
    (foreign,) = solve(problems, principal_directions(shared[:20] * 3), [1.0])
    assert foreign.is_optimal.all()
    assert np.linalg.norm(foreign.weights.numpy() - own) < 2e-3 * np.linalg.norm(own)


def test_optimum_that_is_not_reached_is_told(monkeypatch):
    features, targets = table(120, 30)
    monkeypatch.setattr(logistic, "ROUNDS", 1)
    monkeypatch.setattr(logistic, "ITERATIONS", 1)
    *_, (_, _, is_optimal) = solved(features, targets, grid=[10.0])
    assert not is_optimal.any()


def test_bound_of_the_error_holds():
    features, targets = table(300, 20)
    shared = torch.from_numpy(features)
    signs = torch.tensor(2.0 * targets.T - 1, dtype=torch.float32)
    ((weights, *_),) = solved(features, targets, grid=[1.0])
    state = logistic.starting_state(Problems(shared, signs, torch.ones(4, 20).double()))
    for nearness in (0.5, 0.1, 0.01):
        generator = torch.Generator().manual_seed(0)
        state.weights = torch.from_numpy(weights) * (1 + nearness * torch.randn(weights.shape, generator=generator))
        logistic.refresh(shared, state)
        assert state.residuals.sum(1).abs().max() < 1e-6  # without the best offset there is no bound
        distance = (state.weights - torch.from_numpy(weights)).norm(dim=1)
        assert (distance <= state.error(1.0) * logistic.TOLERANCE * state.weights.norm(dim=1)).all()
