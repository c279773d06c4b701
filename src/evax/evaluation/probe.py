"""Frozen linear probe: one L2 logistic regression per finding, its strength chosen across patients."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Real, Shaped
from scipy.special import expit
from sklearn.model_selection import GroupKFold

from evax.data.keyed_random import Stream, keyed_generator
from evax.evaluation.auroc import auroc_per_class, macro
from evax.evaluation.logistic import Problems, Solution, principal_directions, solve
from evax.progress import Step

log = logging.getLogger(__name__)

BLOCK = 2**22  # features that are float64 at once, 32 MiB

Folds = Sequence[tuple[Int[np.ndarray, "_A"], Int[np.ndarray, "_B"]]]  # rows to fit on, and rows held out
HeldOut = Iterator[tuple[int, int, Float32[np.ndarray, "_B _C"]]]  # which setting, which fold, scores of its films
FoldScorer = Callable[[Any, Any, Folds, Sequence[Any]], HeldOut]  # from targets, mask, folds and settings
Tick = Callable[[], None]  # called while long work goes on


def nothing() -> None:
    """The tick of work that shows nothing."""


# Shapes: N train films, M other films, D width, C classes, F folds
class Axes(NamedTuple):
    """Standardisation by train films."""

    mean: Float64[np.ndarray, "D"]
    scale: Float64[np.ndarray, "D"]

    def project(
        self, features: Float[np.ndarray, "M D"], rows: Int[np.ndarray, "_A"] | None = None
    ) -> Float32[np.ndarray, "_A D"]:
        """Standardised features of all films, or of those in some rows."""
        rows = np.arange(len(features)) if rows is None else rows
        standard = np.empty((len(rows), features.shape[1]), np.float32)
        for places in blocks(np.arange(len(rows)), features.shape[1]):
            standard[places] = (features[rows[places]] - self.mean) / self.scale
        return standard


def blocks(rows: Int[np.ndarray, "N"], width: int) -> list[Int[np.ndarray, "_n"]]:
    """Rows of so many numbers, in parts of which one can be float64."""
    return np.array_split(rows, len(rows) * width // BLOCK + 1)


def fit_axes(features: Float[np.ndarray, "N D"], rows: Int[np.ndarray, "_A"] | None = None) -> Axes:
    """Axes of all films, or of those in some rows; a constant feature is centred and left unscaled.

    ValueError where a feature is not finite.
    """
    rows = np.arange(len(features)) if rows is None else rows
    parts = blocks(rows, features.shape[1])
    mean = sum(features[part].sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
    if not np.isfinite(mean).all():
        raise ValueError(f"{(~np.isfinite(mean)).sum()} of {len(mean)} features are not finite; check the weights")
    variance = sum(np.square(features[part] - mean).sum(axis=0) for part in parts) / len(rows)
    deviation = np.sqrt(variance)
    is_constant = deviation <= 1e-10 * np.maximum(np.abs(mean), 1)
    return Axes(np.where(is_constant, features[rows[0]], mean), np.where(is_constant, 1.0, deviation))


class Hyperplanes(NamedTuple):
    """Weights and offset of every class; NaN for a class with a single known label."""

    weights: Float64[np.ndarray, "D C"]
    offsets: Float64[np.ndarray, "C"]

    def scores(self, features: Float32[np.ndarray, "M D"]) -> Float32[np.ndarray, "M C"]:
        """Probabilities in [0, 1]."""
        return expit(features @ self.weights.astype(np.float32) + self.offsets).astype(np.float32)


def fit_hyperplanes(
    features: Float32[np.ndarray, "N D"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    strength: float,
    names: Sequence[str] | None = None,
    tick: Tick = nothing,
) -> Hyperplanes:
    """One-vs-rest logistic regressions on standardised features; `strength` is C of scikit-learn."""
    weights = np.full((features.shape[1], targets.shape[1]), np.nan)
    offsets = np.full(targets.shape[1], np.nan)
    signs = label_signs(targets, is_known)
    columns = np.flatnonzero(has_both(signs))
    if len(columns):
        standard = torch.from_numpy(features)
        scales = torch.ones(len(columns), features.shape[1], dtype=torch.float64)
        problems = Problems(standard, torch.from_numpy(signs[columns]), scales)
        (solution,) = solve(problems, principal_directions(standard), [strength], tick)
        warn_unproven(solution, strength, columns, names)
        weights[:, columns], offsets[columns] = solution.weights.numpy().T, solution.offsets.numpy()
    return Hyperplanes(weights, offsets)


def label_signs(targets: Real[np.ndarray, "N C"], is_known: Bool[np.ndarray, "N C"]) -> Float32[np.ndarray, "C N"]:
    """1 for present, -1 for absent and 0 for unknown."""
    if not np.isin(targets[is_known], (0, 1)).all():
        raise ValueError("known targets must be 0 or 1; mask the others with is_known")
    return np.ascontiguousarray(np.where(is_known, 2.0 * targets - 1, 0).T, dtype=np.float32)


def has_both(signs: Float32[np.ndarray, "*C N"]) -> Bool[np.ndarray, "*C"]:
    """Which classes have positives and negatives."""
    return np.asarray((signs > 0).any(axis=-1) & (signs < 0).any(axis=-1))


def warn_unproven(
    solution: Solution, strength: float, columns: Int[np.ndarray, "K"], names: Sequence[str] | None
) -> None:
    """Name the classes, `columns` of the targets, whose optimum was not reached."""
    if unproven := sorted(set(columns[~solution.is_optimal.numpy()].tolist())):
        which = ", ".join(names[column] if names else f"class {column}" for column in unproven)
        log.warning("the linear probe with C=%g did not converge for %s; use a smaller C (strengths)", strength, which)


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
        names: Sequence[str] | None = None,
        tick: Tick = nothing,
    ) -> "LinearProbe":
        """Fit every class on its known films; returns the probe itself. `names` are of the classes, for warnings."""
        known = all_known(targets) if is_known is None else is_known
        self.axes = fit_axes(features)
        self.hyperplanes = fit_hyperplanes(self.axes.project(features), targets, known, self.strength, names, tick)
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


def fold_probes(
    features: Float[np.ndarray, "N D"], names: Sequence[str] | None = None, tick: Tick = nothing
) -> FoldScorer:
    """What scores held-out films by linear probes: those of all folds and classes are solved together.

    Each fold standardises by the films that it fits on. That divides all features by scales of the fold; its mean
    goes into the offset, so all folds share one matrix.
    """
    standard = fit_axes(features).project(features)
    shared = torch.from_numpy(standard)
    directions = principal_directions(shared)

    def held_out(
        targets: Real[np.ndarray, "N C"], is_known: Bool[np.ndarray, "N C"], folds: Folds, grid: Sequence[float]
    ) -> HeldOut:
        fitted = np.stack([np.isin(np.arange(len(standard)), rows) for rows, _ in folds])
        signs = label_signs(targets, is_known) * fitted[:, None]  # (F, C, N)
        numbers, columns = np.nonzero(has_both(signs))
        scales = np.stack([fit_axes(standard, rows).scale for rows, _ in folds])
        if not len(numbers):
            return
        problems = Problems(shared, *(torch.from_numpy(each) for each in (signs[numbers, columns], scales[numbers])))
        del signs
        for setting, solution in enumerate(solve(problems, directions, grid, tick)):
            warn_unproven(solution, grid[setting], columns, names)
            for fold, (_, rows) in enumerate(folds):
                scores = np.full((len(rows), targets.shape[1]), np.nan, np.float32)
                scores[:, columns[numbers == fold]] = expit(solution.logits.numpy()[numbers == fold][:, rows]).T
                yield setting, fold, scores

    return held_out


def probe_scores(
    features: Float[np.ndarray, "N D"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    others: Float[np.ndarray, "M D"],
    strength: float,
    names: Sequence[str] | None = None,
    tick: Tick = nothing,
) -> Float32[np.ndarray, "M C"]:
    """Scores of other films by a `LinearProbe`."""
    return LinearProbe(strength).fit(features, targets, is_known, names, tick).scores(others)


def out_of_fold_auroc(
    held_out: HeldOut,
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    folds: Folds,
    num_settings: int,
    step: Step,
) -> list[float]:
    """Macro AUROC of the held-out scores, one per setting of the grid, over pairs of films of one fold.

    Pairs across folds are left out: they compare two fits, whose offsets follow the prevalence they saw, and
    a film held out from a fold with few positives would then rank high for no merit of its features.
    """
    aurocs = np.full((num_settings, len(folds), targets.shape[1]), np.nan)
    pairs = np.empty((len(folds), targets.shape[1]))
    for fold, (_, rows) in enumerate(folds):
        labels, known = targets[rows], is_known[rows]
        pairs[fold] = ((labels == 1) & known).sum(axis=0) * ((labels == 0) & known).sum(axis=0)
    for setting, fold, scores in held_out:
        rows = folds[fold][1]
        aurocs[setting, fold] = auroc_per_class(scores, targets[rows], is_known[rows])
        step.advance()
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
    scorer: Callable[[Any, Sequence[str] | None, Tick], FoldScorer] = fold_probes,
    num_folds: int = 5,
    num_repeats: int = 1,
    seed: int = 0,
    names: Sequence[str] | None = None,
    title: str = "cross-validation",
) -> dict[Any, float]:
    """Setting -> macro AUROC over patient-level folds, a mean over repeats; give the scored classes only.

    Settings are strengths of linear probes, ascending, or whatever the scorer takes that `scorer` makes of features.
    `names` are of the classes, for warnings.
    """
    known = all_known(targets) if is_known is None else is_known
    per_repeat = []
    with Step(title, num_repeats * len(grid) * num_folds) as step:
        of_folds = scorer(features, names, step.alive)
        for repeat in range(num_repeats):
            folds = list(patient_folds(patient_ids, num_folds, seed, repeat))
            held_out = of_folds(targets, known, folds, grid)
            per_repeat.append(out_of_fold_auroc(held_out, targets, known, folds, len(grid), step))
    if np.isnan(per_repeat).any():
        raise ValueError("no class has positives and negatives inside any fold: lower num_folds or add films")
    return dict(zip(grid, np.mean(per_repeat, axis=0).tolist(), strict=True))
