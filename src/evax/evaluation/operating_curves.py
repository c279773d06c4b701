"""ROC, precision-recall and reliability curves on fixed grids, with intervals for their means: data for figures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from evax.evaluation.calibration import NUM_BINS, Bin, reliability, scorable
from evax.evaluation.operating_points import OperatingPoints, count, points_per_class, precision_at, sensitivity_at
from evax.evaluation.patient_draws import group_by_patient, resample
from evax.evaluation.study import LabelledFilms

GRID = tuple(np.linspace(0, 1, 101).tolist())  # of false positive rates, and of recalls


class Band(NamedTuple):
    """A curve over `GRID` and the pointwise 95 % interval over patients."""

    value: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True, slots=True)
class OperatingCurves:
    """Sensitivity over the false positive rate and precision over recall, at the points of `GRID`.

    Means are vertical averages over the classes that can be scored (Fawcett 2006); the others are absent.
    """

    roc: dict[str, list[float]]
    precision_recall: dict[str, list[float]]
    prevalence: dict[str, float]
    roc_macro: Band | None
    precision_recall_macro: Band | None

    def to_json(self) -> dict[str, object]:
        """Plain types, four digits: they are for drawing."""
        return {
            "grid": list(GRID),
            "roc": {finding: _round(values) for finding, values in self.roc.items()},
            "precision_recall": {finding: _round(values) for finding, values in self.precision_recall.items()},
            "prevalence": self.prevalence,
            "roc_macro": _band_to_json(self.roc_macro),
            "precision_recall_macro": _band_to_json(self.precision_recall_macro),
        }


# Shapes: N films, C classes, P patients, D draws, G grid points
def operating_curves(
    scores: Float[np.ndarray, "N C"],
    films: LabelledFilms,
    findings: Sequence[str],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> OperatingCurves:
    """The curves of every class that can be scored; the means and their intervals over the same resamples."""
    patients = group_by_patient(films.patient_ids)
    ladder = points_per_class(scores, films.targets, patients, films.is_known)
    once = np.ones((len(patients.names), 1))
    is_scored = [bool(count(points, once).is_defined[0]) for points in ladder]
    shown = [points for points, keep in zip(ladder, is_scored, strict=True) if keep]
    names = [finding for finding, keep in zip(findings, is_scored, strict=True) if keep]
    if not names:
        return OperatingCurves({}, {}, {}, None, None)
    curves = np.stack([_curves(points, once)[0] for points in shown])  # (C, 2, G)

    def means(counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D 2 G"]:
        return np.mean([_curves(points, counts) for points in shown], axis=0)

    value, draws = resample(means, patients, num_draws=num_draws, seed=seed)
    whole = draws[~np.isnan(draws).any(axis=(1, 2))]
    low, high = np.quantile(whole, (0.025, 0.975), axis=0) if len(whole) else (np.full_like(value, np.nan),) * 2
    sizes = [(points.positives.sum(), points.negatives.sum()) for points in shown]
    return OperatingCurves(
        roc={name: curve[0].tolist() for name, curve in zip(names, curves, strict=True)},
        precision_recall={name: curve[1].tolist() for name, curve in zip(names, curves, strict=True)},
        prevalence={
            n: float(positive / (positive + negative)) for n, (positive, negative) in zip(names, sizes, strict=True)
        },
        roc_macro=Band(*(each[0].tolist() for each in (value, low, high))),
        precision_recall_macro=Band(*(each[1].tolist() for each in (value, low, high))),
    )


@dataclass(frozen=True, slots=True)
class ReliabilityCurves:
    """Reliability diagrams over all film-class pairs, before and after temperature scaling."""

    before: list[Bin]
    after: list[Bin]

    def to_json(self) -> dict[str, object]:
        """Plain types."""
        return {name: [asdict(each) for each in getattr(self, name)] for name in ("before", "after")}


def reliability_curves(
    before: Float[np.ndarray, "N C"],
    after: Float[np.ndarray, "N C"],
    films: LabelledFilms,
    num_bins: int = NUM_BINS,
) -> ReliabilityCurves:
    """Diagrams of the known pairs that both tables of probabilities score; bins of equal mass, as most are rare."""
    shown = scorable(before, films.is_known) & scorable(after, films.is_known)
    wanted = films.targets[shown]
    return ReliabilityCurves(*(reliability(rows[shown], wanted, num_bins, "mass") for rows in (before, after)))


def _curves(points: OperatingPoints, counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D 2 G"]:
    counted = count(points, counts)
    specificities = [1 - rate for rate in GRID]
    return np.stack([sensitivity_at(counted, specificities), precision_at(counted, GRID)], axis=1)


def _round(values: list[float]) -> list[float | None]:
    return [None if np.isnan(value) else round(value, 4) for value in values]


def _band_to_json(band: Band | None) -> dict[str, list[float | None]] | None:
    return None if band is None else {key: _round(values) for key, values in band._asdict().items()}
