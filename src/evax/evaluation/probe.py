"""Frozen linear probe: one L2 logistic regression per finding, its strength chosen across patients."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Real, Shaped
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from evax.data.keyed_random import Stream, keyed_generator
from evax.evaluation.auroc import auroc_per_class, macro

# Features, targets and mask of train films, features of others, settings -> scores of the others, one per setting
Scorer = Callable[[Any, Any, Any, Any, Sequence[Any]], Iterator[np.ndarray]]
MAX_ITERATIONS = 20_000  # far beyond what is needed; reaching it raises scikit-learn's ConvergenceWarning


# Shapes: N train films, M other films, D width, R rank, C classes
class Axes(NamedTuple):
    """Standardisation by the train films, then a rotation onto the directions they span."""

    mean: Float64[np.ndarray, "D"]
    scale: Float64[np.ndarray, "D"]
    rotation: Float64[np.ndarray, "D R"] | None  # None: there are at least as many films as features

    def project(self, features: Float[np.ndarray, "M D"]) -> Float64[np.ndarray, "M R"]:
        """Standardised features in the rotated axes."""
        standard = (features - self.mean) / self.scale
        return standard if self.rotation is None else standard @ self.rotation


def fit_axes(features: Float[np.ndarray, "N D"], *, rotate: bool = True) -> Axes:
    """Axes of the train films; a constant feature is centred and left unscaled.

    L2-regularised weights lie in the span of the train films, so with more features than films the rotation
    changes no solution and shrinks the problem to N columns.
    """
    features = features.astype(np.float64)
    deviation = features.std(axis=0)
    mean = features.mean(axis=0)
    is_constant = deviation <= 1e-10 * np.maximum(np.abs(mean), 1)
    scale = np.where(is_constant, 1.0, deviation)
    num_films, width = features.shape
    if not rotate or width <= num_films:
        return Axes(mean, scale, None)
    _, _, directions = np.linalg.svd((features - mean) / scale, full_matrices=False)
    return Axes(mean, scale, directions.T)


class Hyperplanes(NamedTuple):
    """Weights and offset of every class; NaN for a class with a single known label."""

    weights: Float64[np.ndarray, "R C"]
    offsets: Float64[np.ndarray, "C"]

    def scores(self, features: Float64[np.ndarray, "M R"]) -> Float32[np.ndarray, "M C"]:
        """Probabilities in [0, 1]."""
        return expit(features @ self.weights + self.offsets).astype(np.float32)


def fit_hyperplanes(
    features: Float64[np.ndarray, "N R"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    strength: float,
) -> Hyperplanes:
    """One-vs-rest logistic regressions with inverse L2 penalty `strength` (C of scikit-learn)."""
    num_classes = targets.shape[1]
    weights = np.full((features.shape[1], num_classes), np.nan)
    offsets = np.full(num_classes, np.nan)
    for column in range(num_classes):
        known = is_known[:, column]
        labels = targets[known, column]
        if len(np.unique(labels)) < 2:
            continue
        model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
        model.fit(features[known], labels)
        weights[:, column] = model.coef_[0]
        offsets[column] = model.intercept_[0]
    return Hyperplanes(weights, offsets)


def all_known(targets: Real[np.ndarray, "N C"]) -> Bool[np.ndarray, "N C"]:
    """The mask of a table without unknown labels."""
    return np.ones(targets.shape, dtype=bool)


class LinearProbe:
    """Standardisation and one L2 logistic regression per class on frozen features."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def fit(
        self,
        features: Float[np.ndarray, "N D"],
        targets: Real[np.ndarray, "N C"],
        is_known: Bool[np.ndarray, "N C"] | None = None,
    ) -> "LinearProbe":
        """Fit every class on its known films; returns the probe itself."""
        known = all_known(targets) if is_known is None else is_known
        self.axes = fit_axes(features)
        self.hyperplanes = fit_hyperplanes(self.axes.project(features), targets, known, self.strength)
        return self

    def scores(self, features: Float[np.ndarray, "M D"]) -> Float32[np.ndarray, "M C"]:
        """Probabilities in [0, 1]; the column of a class that could not be fitted is NaN."""
        return self.hyperplanes.scores(self.axes.project(features))


def patient_folds(
    patient_ids: Shaped[np.ndarray, "N"], num_folds: int, seed: int, repeat: int = 0
) -> Iterator[tuple[Int[np.ndarray, "A"], Int[np.ndarray, "B"]]]:
    """Rows to fit on and rows held out, per fold; no patient is on both sides."""
    if num_folds > len(np.unique(patient_ids)):
        raise ValueError(f"num_folds={num_folds} exceeds the {len(np.unique(patient_ids))} patients")
    shuffle_seed = int(keyed_generator(seed, Stream.SPLIT, index=repeat).integers(2**31))
    splitter = GroupKFold(num_folds, shuffle=True, random_state=shuffle_seed)
    return splitter.split(patient_ids, groups=patient_ids)


def probe_scores(
    features: Float[np.ndarray, "N D"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    others: Float[np.ndarray, "M D"],
    grid: Sequence[float],
) -> Iterator[Float32[np.ndarray, "M C"]]:
    """Scores of other films by a `LinearProbe` of every strength; the axes are fitted once."""
    axes = fit_axes(features)
    train, held_out = axes.project(features), axes.project(others)
    for strength in grid:
        yield fit_hyperplanes(train, targets, is_known, strength).scores(held_out)


def out_of_fold_auroc(
    features: Float[np.ndarray, "N D"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    folds: Sequence[tuple[Int[np.ndarray, "_A"], Int[np.ndarray, "_B"]]],
    grid: Sequence[Any],
    scorer: Scorer = probe_scores,
) -> list[float]:
    """Macro AUROC of the held-out scores, one per setting of the grid, over pairs of films of one fold.

    Pairs across folds are left out: they compare two fits, whose offsets follow the prevalence they saw, and
    a film held out from a fold with few positives would then rank high for no merit of its features.
    """
    aurocs = np.full((len(grid), len(folds), targets.shape[1]), np.nan)
    pairs = np.empty((len(folds), targets.shape[1]))
    for fold, (fitted, held_out) in enumerate(folds):
        scores = scorer(features[fitted], targets[fitted], is_known[fitted], features[held_out], grid)
        labels, known = targets[held_out], is_known[held_out]
        pairs[fold] = ((labels == 1) & known).sum(axis=0) * ((labels == 0) & known).sum(axis=0)
        for position, values in enumerate(scores):
            aurocs[position, fold] = auroc_per_class(values, labels, known)
    weight = np.where(np.isnan(aurocs), 0.0, pairs)  # (grid, folds, C)
    total = weight.sum(axis=1)
    wins = (weight * np.nan_to_num(aurocs)).sum(axis=1)
    per_class = np.divide(wins, total, out=np.full(total.shape, np.nan), where=total > 0)
    return [macro(values).value for values in per_class]


def cross_validate(
    features: Float[np.ndarray, "N D"],
    targets: Real[np.ndarray, "N C"],
    patient_ids: Shaped[np.ndarray, "N"],
    grid: Sequence[Any],
    is_known: Bool[np.ndarray, "N C"] | None = None,
    *,
    scorer: Scorer = probe_scores,
    num_folds: int = 5,
    num_repeats: int = 1,
    seed: int = 0,
) -> dict[Any, float]:
    """Setting -> macro AUROC over patient-level folds, a mean over repeats; give the scored classes only.

    Settings are strengths of linear probes, or whatever `scorer` takes.
    """
    known = all_known(targets) if is_known is None else is_known
    folds = (list(patient_folds(patient_ids, num_folds, seed, repeat)) for repeat in range(num_repeats))
    per_repeat = [out_of_fold_auroc(features, targets, known, each, grid, scorer) for each in folds]
    if np.isnan(per_repeat).any():
        raise ValueError("no class has positives and negatives inside any fold: lower num_folds or add films")
    return dict(zip(grid, np.mean(per_repeat, axis=0).tolist(), strict=True))
