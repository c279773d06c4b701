"""Classes of which a film shows exactly one: accuracy, per-class sensitivity and PPV, and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from evax.evaluation.bootstrap import Estimate, estimate
from evax.evaluation.calibration import NUM_BINS, CalibrationError
from evax.evaluation.metric import Metric, estimate_spread, metric_of
from evax.evaluation.patient_draws import Patients, group_by_patient, resample, tally
from evax.evaluation.study import LabelledFilms, estimate_to_json


# Shapes: N films, C classes, P patients, D draws
class Agreement(NamedTuple):
    """What the called classes are worth, per draw; NaN where a rate is 0 of 0."""

    accuracy: Float[np.ndarray, "D"]
    sensitivity: Float[np.ndarray, "D C"]
    ppv: Float[np.ndarray, "D C"]


def true_class(targets: Real[np.ndarray, "N C"]) -> Int[np.ndarray, "N"]:
    """The class of each one-hot target."""
    if not (np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all()):
        raise ValueError("a film must show exactly one of the classes; these are not exclusive")
    return targets.argmax(axis=1)


class Confusion:
    """How often a film of one class is called another, tallied per patient; the highest score is called."""

    def __init__(
        self,
        scores: Float[np.ndarray, "N C"],
        targets: Real[np.ndarray, "N C"],
        patients: Patients,
        is_known: Bool[np.ndarray, "N C"] | None = None,
    ) -> None:
        films = np.arange(len(scores)) if is_known is None else np.flatnonzero(is_known.all(axis=1))
        self.num_classes = scores.shape[1]
        cells = true_class(targets[films]) * self.num_classes + scores[films].argmax(axis=1)
        self.tally = tally(cells, patients.of_film[films], (self.num_classes**2, len(patients.names)))

    def matrix(self) -> Int[np.ndarray, "C C"]:
        """Films by true class (rows) and called class (columns)."""
        return self.tally.sum(axis=1).reshape(self.num_classes, self.num_classes).astype(np.int64)

    def __call__(self, counts: Float[np.ndarray, "P D"]) -> Agreement:
        """Agreement in resamples in which patient p is drawn counts[p, d] times."""
        cells = (self.tally @ counts).T.reshape(counts.shape[1], self.num_classes, self.num_classes)
        right = np.diagonal(cells, axis1=1, axis2=2)
        return Agreement(
            accuracy=_share(right.sum(axis=1), cells.sum(axis=(1, 2))),
            sensitivity=_share(right, cells.sum(axis=2)),
            ppv=_share(right, cells.sum(axis=1)),
        )


@dataclass(frozen=True, slots=True)
class ExclusiveScores:
    """What only classes that exclude each other have; `ece` is of the called class (Guo et al. 2017, equation 3)."""

    accuracy: Estimate
    ece: Estimate
    ece_calibrated: Estimate
    called: dict[str, Metric]
    confusion: Int[np.ndarray, "C C"]

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        return {
            **{name: estimate_to_json(getattr(self, name)) for name in ("accuracy", "ece", "ece_calibrated")},
            "called": {name: metric.to_json() for name, metric in self.called.items()},
            "confusion": self.confusion.tolist(),
        }


def exclusive_scores(
    findings: Sequence[str],
    films: LabelledFilms,
    probabilities: Float[np.ndarray, "N C"],
    calibrated: Float[np.ndarray, "N C"],
    *,
    num_bins: int = NUM_BINS,
    num_draws: int = 1000,
    seed: int = 0,
) -> ExclusiveScores:
    """Scores of softmax probabilities before and after temperature scaling (NaN: without one)."""
    patients = group_by_patient(films.patient_ids)
    confusion = Confusion(probabilities, films.targets, patients, films.is_known)
    is_right = (probabilities.argmax(axis=1) == films.targets.argmax(axis=1))[:, None].astype(np.float64)
    known = None if films.is_known is None else films.is_known.all(axis=1).reshape(-1, 1)
    errors = [
        CalibrationError(rows.max(axis=1, keepdims=True), is_right, patients, known, num_bins=num_bins)
        for rows in (probabilities, calibrated)
    ]

    def scores(counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D _"]:
        accuracy, sensitivity, ppv = confusion(counts)
        return np.concatenate([accuracy[:, None], *(error(counts) for error in errors), sensitivity, ppv], axis=1)

    value, draws = resample(scores, patients, num_draws=num_draws, seed=seed)
    sides = {"sensitivity": slice(3, 3 + len(findings)), "ppv": slice(3 + len(findings), None)}
    return ExclusiveScores(
        accuracy=estimate(float(value[0]), draws[:, 0]),
        ece=estimate_spread(float(value[1]), draws[:, 1]),
        ece_calibrated=estimate_spread(float(value[2]), draws[:, 2]),
        called={name: metric_of(value[columns], draws[:, columns], findings) for name, columns in sides.items()},
        confusion=confusion.matrix(),
    )


def confusion_matrix(scores: Float[np.ndarray, "N C"], targets: Real[np.ndarray, "N C"]) -> Int[np.ndarray, "C C"]:
    """Films by true class (rows) and called class (columns)."""
    return Confusion(scores, targets, Patients(np.zeros(1), np.zeros(len(scores), dtype=np.int64))).matrix()


def _share(part: Float[np.ndarray, "*shape"], whole: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
