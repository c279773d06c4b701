"""The report card of a classifier: every metric of its test films, per class and in the mean, with intervals.

What is chosen (thresholds, temperature) is chosen on validation films; the test films are scored once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import expit

from evax.evaluation.calibration import NUM_BINS, Bins, BrierScore, CalibrationError
from evax.evaluation.cautions import bounded, temperature_remarks, threshold_remarks, worse_calibration
from evax.evaluation.decisions import Decisions, best_f1_thresholds
from evax.evaluation.exclusive import ExclusiveScores, exclusive_scores
from evax.evaluation.metric import Metric, metrics_of
from evax.evaluation.operating_curves import (
    OperatingCurves,
    ReliabilityCurves,
    operating_curves,
    reliability_curves,
)
from evax.evaluation.operating_points import auroc_of, average_precision_of, count, points_per_class, sensitivity_at
from evax.evaluation.patient_draws import Patients, group_by_patient, resample
from evax.evaluation.predictions import ids_digest
from evax.evaluation.scorable import lone_patients, missing_intervals, reasons, remarks, supports
from evax.evaluation.study import LabelledFilms
from evax.evaluation.subgroups import Subgroups, all_subgroups
from evax.evaluation.temperature import class_logits, fit_temperature, probabilities_of

RANKED = ("auroc", "auprc", "sensitivity_at_specificity")
DECIDED = ("f1", "sensitivity", "specificity", "ppv")
CALIBRATED = ("brier", "ece", "brier_calibrated", "ece_calibrated")
ERRORS = ("ece", "ece_calibrated")


# Shapes: N films, C classes, P patients, D draws, M metrics
class Predicted(NamedTuple):
    """Films and the logits a classifier gave them; a column that is wholly NaN is a class without a model."""

    films: LabelledFilms
    logits: Float[np.ndarray, "N C"]


@dataclass(frozen=True, slots=True)
class CardOptions:
    """How a card is made; `exclusive` classes share a softmax, others have a sigmoid each.

    EVA-X's code takes the AUROC of exclusive classes from a sigmoid of each logit: the card without `exclusive` has it.
    """

    exclusive: bool = False
    specificity: float = 0.9
    num_bins: int = NUM_BINS
    bins: Bins = "width"
    temperature_per_class: bool = False
    num_draws: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ReportCard:
    """All that is known of a classifier on its test films.

    `metrics` maps RANKED, DECIDED and CALIBRATED to their scores. Without validation films there is no threshold and
    no temperature, and what rests on them is absent. `thresholds` are probabilities before calibration.
    `sensitivity_at_specificity` is read off the ROC curve of the test films, anew in every resample.
    `not_scored` says why a finding has no AUROC, `remarks` which are scored on few images, `no_interval` why an
    interval is missing, `threshold_remarks` which thresholds few validation images chose, or none; `cautions` are
    sentences on the whole.
    """

    findings: tuple[str, ...]
    metrics: dict[str, Metric]
    exclusive: ExclusiveScores | None
    thresholds: dict[str, float]
    temperature: dict[str, float]
    num_positives: dict[str, int]
    num_known: dict[str, int]
    num_films: int
    num_patients: int
    test_ids_digest: str
    validation_ids_digest: str
    options: CardOptions
    subgroups: tuple[Subgroups, ...]
    curves: OperatingCurves
    reliability: ReliabilityCurves
    not_scored: dict[str, str]
    remarks: dict[str, str]
    no_interval: dict[str, str]
    threshold_remarks: dict[str, str]
    cautions: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        return {
            "findings": list(self.findings),
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "exclusive": None if self.exclusive is None else self.exclusive.to_json(),
            **{name: _plain(getattr(self, name)) for name in ("thresholds", "temperature")},
            **{name: getattr(self, name) for name in ("num_positives", "num_known", "num_films", "num_patients")},
            "test_ids_digest": self.test_ids_digest,
            "validation_ids_digest": self.validation_ids_digest,
            "options": asdict(self.options),
            "subgroups": [each.to_json() for each in self.subgroups],
            "curves": self.curves.to_json(),
            "reliability": self.reliability.to_json(),
            **{name: getattr(self, name) for name in ("not_scored", "remarks", "no_interval", "threshold_remarks")},
            "cautions": list(self.cautions),
        }


def report_card(
    findings: Sequence[str],
    test: Predicted,
    validation: Predicted | None = None,
    attributes: Mapping[str, Shaped[np.ndarray, "N"]] | None = None,
    options: CardOptions | None = None,
) -> ReportCard:
    """Score test films; `attributes` maps "sex", "age", ... to the group of each test film (see `subgroups`)."""
    options = options or CardOptions()
    check_predictions(findings, test, validation, exclusive=options.exclusive)
    chosen = _Choice.of(validation, len(findings), options)
    patients = group_by_patient(test.films.patient_ids)
    odds = class_logits(test.logits, exclusive=options.exclusive)
    settings = {"num_draws": options.num_draws, "seed": options.seed}
    before, after = _probabilities(test, chosen, options)
    rests_on = supports(test.films, findings, test.logits)
    metrics = bounded(_metrics(findings, test, chosen, patients, options), rests_on)
    exclusive = (
        exclusive_scores(findings, test.films, before, after, num_bins=options.num_bins, **settings)
        if options.exclusive
        else None
    )
    fitted = {} if validation is None else supports(validation.films, findings, validation.logits)
    return ReportCard(
        findings=tuple(findings),
        metrics=metrics,
        exclusive=exclusive,
        thresholds=dict(zip(findings, expit(chosen.thresholds).tolist(), strict=True)),
        temperature=dict(zip(findings, chosen.temperature.tolist(), strict=True)),
        num_positives={finding: each.positives for finding, each in rests_on.items()},
        num_known={finding: each.positives + each.negatives for finding, each in rests_on.items()},
        num_films=len(odds),
        num_patients=len(patients.names),
        test_ids_digest=ids_digest(test.films.image_ids),
        validation_ids_digest="" if validation is None else ids_digest(validation.films.image_ids),
        options=options,
        subgroups=all_subgroups(attributes or {}, odds, test.films, findings, **settings),
        curves=operating_curves(odds, test.films, findings, **settings),
        reliability=reliability_curves(before, after, test.films, options.num_bins),
        not_scored=reasons(rests_on),
        remarks=remarks(rests_on),
        no_interval=missing_intervals(metrics["auroc"].scores, lone_patients(rests_on)),
        threshold_remarks=threshold_remarks(fitted),
        cautions=(
            *worse_calibration(metrics, exclusive),
            *temperature_remarks(fitted, shared=not options.temperature_per_class),
        ),
    )


def check_predictions(
    findings: Sequence[str], test: Predicted, validation: Predicted | None, *, exclusive: bool = False
) -> None:
    """Refuse tables of other shapes, films scored twice, and patients on both sides; messages name no film."""
    for name, part in (("test", test), ("validation", validation)):
        if part is None:
            continue
        films, shape = part.films, part.logits.shape
        if shape != films.targets.shape or shape[1] != len(findings):
            raise ValueError(f"{name}: logits {shape} and targets {films.targets.shape} of {len(findings)} findings")
        if len(np.unique(films.image_ids)) < len(films.image_ids):
            raise ValueError(f"{name}: an image id occurs twice; a film is scored once")
        if np.isinf(part.logits).any() or (exclusive and np.isnan(part.logits).any()):
            raise ValueError(f"{name}: logits must be finite, or a column wholly NaN where classes are independent")
    if validation is not None:
        shared = np.intersect1d(validation.films.patient_ids, test.films.patient_ids)
        if len(shared):
            raise ValueError(f"{len(shared)} patients are in both validation and test; split by patient")


class _Choice(NamedTuple):
    """What validation films decide, per class; NaN without them. Thresholds are log-odds."""

    thresholds: Float[np.ndarray, "C"]
    temperature: Float[np.ndarray, "C"]

    @classmethod
    def of(cls, validation: Predicted | None, num_classes: int, options: CardOptions) -> "_Choice":
        if validation is None:
            return cls(np.full(num_classes, np.nan), np.full(num_classes, np.nan))
        films, logits = validation
        odds = class_logits(logits, exclusive=options.exclusive)
        return cls(
            best_f1_thresholds(odds, films.targets, films.is_known),
            fit_temperature(
                logits,
                films.targets,
                films.is_known,
                per_class=options.temperature_per_class,
                exclusive=options.exclusive,
            ),
        )


def _probabilities(
    test: Predicted, chosen: _Choice, options: CardOptions
) -> tuple[Float[np.ndarray, "N C"], Float[np.ndarray, "N C"]]:
    """Probabilities before and after temperature scaling; NaN where there is no temperature."""
    before = probabilities_of(test.logits, exclusive=options.exclusive)
    return before, probabilities_of(test.logits, chosen.temperature, exclusive=options.exclusive)


def _metrics(
    findings: Sequence[str], test: Predicted, chosen: _Choice, patients: Patients, options: CardOptions
) -> dict[str, Metric]:
    films, known = test.films, test.films.is_known
    odds = class_logits(test.logits, exclusive=options.exclusive)
    ladder = points_per_class(odds, films.targets, patients, known)
    decisions = Decisions(odds, films.targets, chosen.thresholds, patients, known)
    calibration = [
        score
        for probabilities in _probabilities(test, chosen, options)
        for score in (
            BrierScore(probabilities, films.targets, patients, known),
            CalibrationError(
                probabilities, films.targets, patients, known, num_bins=options.num_bins, kind=options.bins
            ),
        )
    ]

    def scores(counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D M C"]:
        ranked = []
        for points in ladder:
            counted = count(points, counts)
            sensitivity = sensitivity_at(counted, [options.specificity])[:, 0]
            ranked.append(np.stack([auroc_of(counted), average_precision_of(counted), sensitivity], axis=1))
        others = [*decisions(counts), *(score(counts) for score in calibration)]
        return np.concatenate([np.stack(ranked, axis=2), np.stack(others, axis=1)], axis=1)

    resampled = resample(scores, patients, num_draws=options.num_draws, seed=options.seed)
    metrics = metrics_of(resampled, (*RANKED, *DECIDED, *CALIBRATED), findings, ERRORS)
    chosen_on_validation = (*DECIDED, "brier_calibrated", "ece_calibrated")
    is_blind = np.isnan(chosen.temperature).all() and np.isnan(chosen.thresholds).all()
    return {name: metric for name, metric in metrics.items() if not (is_blind and name in chosen_on_validation)}


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}
