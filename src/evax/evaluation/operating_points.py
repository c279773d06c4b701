"""The operating points of one class: what a threshold at each score of a positive would call right and wrong.

AUROC, average precision, and sensitivity at a specificity are all read off the same counts, for many resamples at
once. Only the scores of positives matter as thresholds: between two of them, sensitivity stays and specificity falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy.sparse import csr_array

from evax.evaluation.auroc import rank_films
from evax.evaluation.patient_draws import Patients, tally

ROUNDING = 1e-9  # of a count: 0.9 of 10 negatives is met by 9


# Shapes: N films, C classes, P patients, D draws, K thresholds, G grid points
@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """Tallies per patient at K thresholds, the distinct scores of the positives from high to low.

    Row k of `positives` (K, P) counts positives that score exactly the threshold k. `negatives` (2K + 1, P) counts, in
    row 2k + 1, those that score exactly the threshold k, and in row 2k those between the thresholds k - 1 and k.
    """

    thresholds: Float[np.ndarray, "K"]
    positives: csr_array
    negatives: csr_array


class Counted(NamedTuple):
    """Drawn films at each threshold, by draw; whole numbers."""

    positives_at: Float[np.ndarray, "K D"]  # that score exactly the threshold
    negatives_at: Float[np.ndarray, "K D"]
    true_positives: Float[np.ndarray, "K D"]  # that score the threshold or more
    false_positives: Float[np.ndarray, "K D"]
    num_positives: Float[np.ndarray, "D"]
    num_negatives: Float[np.ndarray, "D"]

    @property
    def is_defined(self) -> Bool[np.ndarray, "D"]:
        """Whether a draw holds a positive and a negative."""
        return (self.num_positives > 0) & (self.num_negatives > 0)


def operating_points(
    scores: Float[np.ndarray, "N"],
    targets: Real[np.ndarray, "N"],
    patients: Patients,
    is_known: Bool[np.ndarray, "N"] | None = None,
) -> OperatingPoints:
    """The operating points of one class over its known films; a score column that is wholly NaN has none."""
    ranking = rank_films(scores, targets, is_known)
    levels, level_of = np.unique(-scores[ranking.positives], return_inverse=True)  # ascending: from high score to low
    falling = -scores[ranking.negatives]
    rungs = np.searchsorted(levels, falling, side="left") + np.searchsorted(levels, falling, side="right")
    num_patients = len(patients.names)
    return OperatingPoints(
        thresholds=-levels,
        positives=tally(level_of, patients.of_film[ranking.positives], (len(levels), num_patients)),
        negatives=tally(rungs, patients.of_film[ranking.negatives], (2 * len(levels) + 1, num_patients)),
    )


def points_per_class(
    scores: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    patients: Patients,
    is_known: Bool[np.ndarray, "N C"] | None = None,
) -> list[OperatingPoints]:
    """The operating points of every class."""
    known = np.ones(scores.shape, dtype=bool) if is_known is None else is_known
    return [operating_points(scores[:, c], targets[:, c], patients, known[:, c]) for c in range(scores.shape[1])]


def count(points: OperatingPoints, counts: Float[np.ndarray, "P D"]) -> Counted:
    """The counts of resamples in which patient p is drawn counts[p, d] times."""
    positives, negatives = points.positives @ counts, points.negatives @ counts
    return Counted(
        positives_at=positives,
        negatives_at=negatives[1::2],
        true_positives=np.cumsum(positives, axis=0),
        false_positives=np.cumsum(negatives, axis=0)[1::2],
        num_positives=positives.sum(axis=0),
        num_negatives=negatives.sum(axis=0),
    )


def auroc_of(counted: Counted) -> Float[np.ndarray, "D"]:
    """Chance that a positive outranks a negative, ties counting half (Hanley & McNeil 1982); NaN if one is absent."""
    not_above = 2 * (counted.num_negatives - counted.false_positives) + counted.negatives_at
    half_wins = (counted.positives_at * not_above).sum(axis=0)
    return _divide(half_wins, 2 * counted.num_positives * counted.num_negatives)


def average_precision_of(counted: Counted) -> Float[np.ndarray, "D"]:
    """Mean over positives of the precision at their score, the step-wise area under the precision-recall curve.

    sum_k (R_k - R_{k-1}) P_k, without interpolation (Davis & Goadrich 2006 show why not); scikit-learn's definition,
    but NaN where a draw has no positive or no negative.
    """
    called = counted.true_positives + counted.false_positives
    precision = np.divide(counted.true_positives, called, out=np.zeros_like(called), where=called > 0)
    area = _divide((counted.positives_at * precision).sum(axis=0), counted.num_positives)
    return np.where(counted.is_defined, area, np.nan)


def sensitivity_at(counted: Counted, specificities: Sequence[float]) -> Float[np.ndarray, "D {len(specificities)}"]:
    """Highest sensitivity, in [0, 1], of a threshold with at least that specificity: an operating point."""
    allowed = (1 - np.asarray(specificities))[:, None] * counted.num_negatives + ROUNDING  # (G, D)
    found = np.full((len(counted.num_positives), len(specificities)), np.nan)
    for draw in np.flatnonzero(counted.is_defined):
        number = np.searchsorted(counted.false_positives[:, draw], allowed[:, draw], side="right")
        hits = np.append(0.0, counted.true_positives[:, draw])[number]
        found[draw] = hits / counted.num_positives[draw]
    return found


def roc_at(counted: Counted, rates: Sequence[float]) -> Float[np.ndarray, "D {len(rates)}"]:
    """Sensitivity, in [0, 1], at false positive rates: the ROC curve, straight where scores tie.

    Its area is the AUROC with ties counting half. At a rate where the curve rises, the upper end of the rise.
    """
    false_positives, true_positives = _corners(counted)
    allowed = np.asarray(rates)[:, None] * counted.num_negatives + ROUNDING  # (G, D)
    found = np.full((len(counted.num_positives), len(rates)), np.nan)
    for draw in np.flatnonzero(counted.is_defined):
        across, up = false_positives[:, draw], true_positives[:, draw]
        last = np.searchsorted(across, allowed[:, draw], side="right") - 1
        following = np.minimum(last + 1, len(across) - 1)
        width = across[following] - across[last]
        share = np.clip(allowed[:, draw] - ROUNDING - across[last], 0, None) / np.where(width > 0, width, 1)
        found[draw] = (up[last] + share * (up[following] - up[last])) / counted.num_positives[draw]
    return found


def _corners(counted: Counted) -> tuple[Float[np.ndarray, "V D"], Float[np.ndarray, "V D"]]:
    """False and true positives at the corners of the ROC curve: before and after each threshold, and at the end."""
    rungs, draws = counted.true_positives.shape
    false_positives, true_positives = np.zeros((2, 2 * rungs + 2, draws))
    false_positives[1:-1:2] = counted.false_positives - counted.negatives_at
    false_positives[2:-1:2] = counted.false_positives
    true_positives[1:-1:2] = counted.true_positives - counted.positives_at
    true_positives[2:-1:2] = counted.true_positives
    false_positives[-1], true_positives[-1] = counted.num_negatives, counted.num_positives
    return false_positives, true_positives


def specificity_at(counted: Counted, sensitivities: Sequence[float]) -> Float[np.ndarray, "D {len(sensitivities)}"]:
    """Highest specificity, in [0, 1], of a threshold with at least that sensitivity."""
    false_positives, _ = _at_sensitivity(counted, sensitivities)
    return 1 - false_positives / np.where(counted.is_defined, counted.num_negatives, np.nan)[:, None]


def precision_at(counted: Counted, recalls: Sequence[float]) -> Float[np.ndarray, "D {len(recalls)}"]:
    """Precision, in [0, 1], of the highest threshold with at least that recall: the step-wise curve."""
    false_positives, true_positives = _at_sensitivity(counted, recalls)
    return true_positives / (true_positives + false_positives)


def _at_sensitivity(
    counted: Counted, sensitivities: Sequence[float]
) -> tuple[Float[np.ndarray, "D G"], Float[np.ndarray, "D G"]]:
    """False and true positives at the highest threshold that finds that share of the positives (and at least one)."""
    wanted = np.asarray(sensitivities)[:, None] * counted.num_positives - ROUNDING
    wanted = np.maximum(wanted, 1 - ROUNDING)
    shape = (len(counted.num_positives), len(sensitivities))
    false_positives, true_positives = np.full(shape, np.nan), np.full(shape, np.nan)
    for draw in np.flatnonzero(counted.is_defined):
        number = np.searchsorted(counted.true_positives[:, draw], wanted[:, draw], side="left")
        false_positives[draw] = counted.false_positives[number, draw]
        true_positives[draw] = counted.true_positives[number, draw]
    return false_positives, true_positives


def _divide(numerator: Float[np.ndarray, "D"], denominator: Float[np.ndarray, "D"]) -> Float[np.ndarray, "D"]:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
