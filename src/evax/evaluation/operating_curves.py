"""ROC, precision-recall and reliability curves, with intervals for the means of the first two: data for figures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from evax.evaluation.bootstrap import MIN_DEFINED
from evax.evaluation.calibration import NUM_BINS, Bin, reliability, scorable
from evax.evaluation.operating_points import Counted, OperatingPoints, count, points_per_class, precision_at, roc_at
from evax.evaluation.patient_draws import group_by_patient, resample
from evax.evaluation.study import LabelledFilms

GRID = tuple(np.linspace(0, 1, 101).tolist())  # of false positive rates, and of recalls


class CurveCounts(NamedTuple):
    """What both curves of a class are drawn from: images at its thresholds, the distinct scores of its positives.

    From the highest threshold to the lowest: positives and negatives that score it or more, and negatives among them
    that score exactly it. Whole numbers, so that the areas under what is drawn are the scores to the last digit.
    """

    true_positives: list[int]
    false_positives: list[int]
    tied_negatives: list[int]
    num_negatives: int

    @classmethod
    def of(cls, counted: Counted) -> "CurveCounts":
        """The counts of a single draw."""
        ladders = (counted.true_positives, counted.false_positives, counted.negatives_at)
        up, across, tied = (each[:, 0].astype(int).tolist() for each in ladders)
        return cls(up, across, tied, int(counted.num_negatives[0]))


class Band(NamedTuple):
    """The pointwise 95 % interval over patients of a mean curve, at the points of `GRID`."""

    low: list[float]
    high: list[float]


@dataclass(frozen=True, slots=True)
class OperatingCurves:
    """The curves of the classes that can be scored, the others are absent, and bands around their means.

    The ROC is straight where scores tie, and its area is the AUROC; precision over recall is a curve of steps, and its
    area is the average precision. Means are vertical averages over the classes (Fawcett 2006), and their areas the
    macro scores. A band is None where too few resamples hold every class.
    """

    counts: dict[str, CurveCounts]
    prevalence: dict[str, float]
    roc_band: Band | None
    precision_recall_band: Band | None

    def to_json(self) -> dict[str, object]:
        """Plain types; four digits of the bands, which are for the eye alone."""
        return {
            "grid": list(GRID),
            "counts": {finding: counts._asdict() for finding, counts in self.counts.items()},
            "prevalence": self.prevalence,
            "roc_band": _band_to_json(self.roc_band),
            "precision_recall_band": _band_to_json(self.precision_recall_band),
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
    """The curves of every class that can be scored; the bands of their means are over the same resamples."""
    patients = group_by_patient(films.patient_ids)
    ladder = points_per_class(scores, films.targets, patients, films.is_known)
    once = np.ones((len(patients.names), 1))
    counted = {finding: count(points, once) for finding, points in zip(findings, ladder, strict=True)}
    shown = [points for points, each in zip(ladder, counted.values(), strict=True) if each.is_defined[0]]
    scored = {finding: each for finding, each in counted.items() if each.is_defined[0]}
    if not shown:
        return OperatingCurves({}, {}, None, None)

    def means(counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D 2 G"]:
        return np.mean([_curves(points, counts) for points in shown], axis=0)

    draws = resample(means, patients, num_draws=num_draws, seed=seed).draws
    whole = draws[~np.isnan(draws).any(axis=(1, 2))]
    bands: list[Band | None] = [None, None]
    if len(whole) and len(whole) >= MIN_DEFINED * len(draws):
        low, high = np.quantile(whole, (0.025, 0.975), axis=0)
        bands = [Band(low[kind].tolist(), high[kind].tolist()) for kind in (0, 1)]
    return OperatingCurves(
        counts={finding: CurveCounts.of(each) for finding, each in scored.items()},
        prevalence={
            finding: float(each.num_positives[0] / (each.num_positives[0] + each.num_negatives[0]))
            for finding, each in scored.items()
        },
        roc_band=bands[0],
        precision_recall_band=bands[1],
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
    return np.stack([roc_at(counted, GRID), precision_at(counted, GRID)], axis=1)


def _band_to_json(band: Band | None) -> dict[str, list[float]] | None:
    return (
        None if band is None else {key: [round(each, 4) for each in values] for key, values in band._asdict().items()}
    )
