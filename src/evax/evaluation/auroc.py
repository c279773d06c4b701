"""Area under the ROC curve as a rank statistic, exact under ties and fast under resampling."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Real


class Macro(NamedTuple):
    """Mean over the classes that could be scored, and how many those are."""

    value: float
    num_defined: int


# Shapes: N films, C classes, D draws, P positives and M negatives of one class
@dataclass(frozen=True, slots=True)
class Ranking:
    """Where the positives of one class stand among its negatives; sorted once, used for every resample."""

    positives: Int[np.ndarray, "P"]  # film rows
    negatives: Int[np.ndarray, "M"]  # film rows, ascending score
    num_below: Int[np.ndarray, "P"]  # negatives that score lower than the positive
    num_not_above: Int[np.ndarray, "P"]  # ... lower or the same


def rank_films(
    scores: Float[np.ndarray, "N"],
    targets: Real[np.ndarray, "N"],
    is_known: Bool[np.ndarray, "N"] | None = None,
) -> Ranking:
    """The ranking of one class over its known films; a score column that is wholly NaN ranks no film."""
    known = np.ones(len(scores), dtype=bool) if is_known is None else is_known
    if not np.isin(targets[known], (0, 1)).all():
        raise ValueError("known targets must be 0 or 1; mask the others with is_known")
    is_undefined = np.isnan(scores[known])
    if is_undefined.all():
        known = np.zeros_like(known)
    elif is_undefined.any():
        raise ValueError(f"{is_undefined.sum()} of {len(is_undefined)} scores of one class are NaN")
    positives = np.flatnonzero(known & (targets == 1))
    negatives = np.flatnonzero(known & (targets == 0))
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    return Ranking(
        positives=positives,
        negatives=negatives,
        num_below=np.searchsorted(scores[negatives], scores[positives], side="left"),
        num_not_above=np.searchsorted(scores[negatives], scores[positives], side="right"),
    )


def resampled_auroc(ranking: Ranking, counts: Integer[np.ndarray, "N D"]) -> Float[np.ndarray, "D"]:
    """AUROC of one class when film n is drawn counts[n, d] times; NaN where a draw misses a class.

    Wins and ties are counted in integers, so the value does not depend on the order of the films.
    """
    num_draws = counts.shape[1]
    drawn_below = np.zeros((len(ranking.negatives) + 1, num_draws), dtype=np.int64)
    np.cumsum(counts[ranking.negatives], axis=0, out=drawn_below[1:])
    positives = counts[ranking.positives].astype(np.int64)  # (P, D)
    half_wins = positives * (drawn_below[ranking.num_below] + drawn_below[ranking.num_not_above])
    pairs = positives.sum(axis=0) * drawn_below[-1]
    undefined = np.full(num_draws, np.nan)
    return np.divide(half_wins.sum(axis=0), 2 * pairs, out=undefined, where=pairs > 0)


def auroc(scores: Float[np.ndarray, "N"], targets: Real[np.ndarray, "N"]) -> float:
    """Chance that a positive outranks a negative, ties counting half; NaN if either is absent."""
    once = np.ones((len(scores), 1), dtype=np.int64)
    return float(resampled_auroc(rank_films(scores, targets), once)[0])


def rank_classes(
    scores: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
) -> list[Ranking]:
    """One ranking per class."""
    known = np.ones(scores.shape, dtype=bool) if is_known is None else is_known
    return [rank_films(scores[:, c], targets[:, c], known[:, c]) for c in range(scores.shape[1])]


def auroc_per_class(
    scores: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
) -> Float[np.ndarray, "C"]:
    """AUROC of every class over its known films; NaN where it is undefined."""
    once = np.ones((len(scores), 1), dtype=np.int64)
    rankings = rank_classes(scores, targets, is_known)
    return np.array([resampled_auroc(ranking, once)[0] for ranking in rankings], dtype=np.float64)


def macro(values: Float[np.ndarray, "C"]) -> Macro:
    """Mean over the defined (not NaN) classes; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return Macro(float(defined.mean()) if len(defined) else float("nan"), len(defined))
