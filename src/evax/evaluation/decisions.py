"""Yes or no: thresholds chosen on validation films, and what they call right and wrong on others."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real

from evax.evaluation.operating_points import count, operating_points
from evax.evaluation.patient_draws import Patients, group_by_patient, tally

OUTCOMES = ("true positive", "false positive", "false negative", "true negative")


# Shapes: N films, C classes, P patients, D draws
class Rates(NamedTuple):
    """What a set of decisions is worth, per draw and class; NaN where a rate is 0 of 0."""

    f1: Float[np.ndarray, "D C"]
    sensitivity: Float[np.ndarray, "D C"]
    specificity: Float[np.ndarray, "D C"]
    ppv: Float[np.ndarray, "D C"]


def best_f1_threshold(
    scores: Float[np.ndarray, "N"], targets: Real[np.ndarray, "N"], is_known: Bool[np.ndarray, "N"] | None = None
) -> float:
    """The score from which on "yes" gives the highest F1, the higher one of two equals; NaN without both classes.

    F1 = 2 TP / (2 TP + FP + FN). The best threshold is always the score of a positive.
    """
    films = group_by_patient(np.arange(len(scores)))
    points = operating_points(scores, targets, films, is_known)
    counted = count(points, np.ones((len(scores), 1)))
    if not counted.is_defined[0]:
        return float("nan")
    called = counted.true_positives + counted.false_positives
    f1 = 2 * counted.true_positives / (called + counted.num_positives)
    return float(points.thresholds[f1[:, 0].argmax()])


def best_f1_thresholds(
    scores: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
) -> Float[np.ndarray, "C"]:
    """The threshold of every class; give validation films."""
    known = np.ones(scores.shape, dtype=bool) if is_known is None else is_known
    columns = range(scores.shape[1])
    return np.array([best_f1_threshold(scores[:, c], targets[:, c], known[:, c]) for c in columns], dtype=np.float64)


class Decisions:
    """The outcomes of given thresholds, tallied per patient; calling it with multiplicities gives the rates."""

    def __init__(
        self,
        scores: Float[np.ndarray, "N C"],
        targets: Real[np.ndarray, "N C"],
        thresholds: Float[np.ndarray, "C"],
        patients: Patients,
        is_known: Bool[np.ndarray, "N C"] | None = None,
    ) -> None:
        known = np.ones(scores.shape, dtype=bool) if is_known is None else is_known
        can_decide = known & ~np.isnan(scores) & ~np.isnan(thresholds)
        is_yes, is_positive = scores >= thresholds, targets == 1
        outcome = np.select([is_yes & is_positive, is_yes, is_positive], [0, 1, 2], 3)  # (N, C), rows of OUTCOMES
        film, column = np.nonzero(can_decide)
        self.num_classes = scores.shape[1]
        self.tally = tally(
            outcome[film, column] * self.num_classes + column,
            patients.of_film[film],
            (len(OUTCOMES) * self.num_classes, len(patients.names)),
        )

    def __call__(self, counts: Float[np.ndarray, "P D"]) -> Rates:
        """Rates of resamples in which patient p is drawn counts[p, d] times."""
        sums = (self.tally @ counts).T.reshape(counts.shape[1], len(OUTCOMES), self.num_classes)
        true_positive, false_positive, false_negative, true_negative = np.moveaxis(sums, 1, 0)
        positives = true_positive + false_negative
        f1 = _share(2 * true_positive, true_positive + false_positive + positives)
        return Rates(
            f1=np.where(positives > 0, f1, np.nan),
            sensitivity=_share(true_positive, positives),
            specificity=_share(true_negative, true_negative + false_positive),
            ppv=_share(true_positive, true_positive + false_positive),
        )


def _share(part: Float[np.ndarray, "D C"], whole: Float[np.ndarray, "D C"]) -> Float[np.ndarray, "D C"]:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
