"""Everything about a segmentation of the test films."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

from evax.data.files import counted
from evax.evaluation.cautions import NEGATIVE, POSITIVE, bounded
from evax.evaluation.metric import Metric
from evax.evaluation.predictions import ids_digest
from evax.evaluation.scorable import FEW, Support, missing_intervals, support_of
from evax.evaluation.segmentation import FN, MIDDLE, THRESHOLDS, TP, SetCounts, dice
from evax.evaluation.segmentation_scores import metrics_of_masks, numbers_of_films

NO_POSITIVES = "no positive test images"
SIDES = {"film_specificity": NEGATIVE, "dice_per_image": (), "jaccard_per_image": ()}  # the others rest on positives
ThresholdFrom = Literal["validation films", "official", "weights", "nothing"]


class Segmented(NamedTuple):
    """Films with what was counted of them."""

    image_ids: Shaped[np.ndarray, "N"]
    patient_ids: Shaped[np.ndarray, "N"]
    counts: SetCounts


@dataclass(frozen=True, slots=True)
class SegmentationCard:
    """Scores of test films at `thresholds`, one a class, and pooled Dice by threshold of test and validation films.

    `not_scored` says why a class has no pooled Dice, `remarks` which are shown by few images or none, `no_interval` why
    an interval is missing, `threshold_remarks` which thresholds few validation images chose, or none.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    threshold_from: ThresholdFrom
    metrics: dict[str, Metric]
    numbers: dict[str, dict[str, int]]
    curves: dict[str, Float64[np.ndarray, "K T"]]
    num_films: int
    num_patients: int
    test_ids_digest: str
    num_draws: int
    seed: int
    not_scored: dict[str, str]
    remarks: dict[str, str]
    no_interval: dict[str, str]
    threshold_remarks: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain types; undefined numbers are None."""
        curves = {
            split: {name: _plain(row) for name, row in zip(self.classes, rows, strict=True)}
            for split, rows in self.curves.items()
        }
        return {
            "classes": list(self.classes),
            "thresholds": dict(zip(self.classes, self.thresholds, strict=True)),
            "threshold_from": self.threshold_from,
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "numbers": self.numbers,
            "dice_by_threshold": {"thresholds": [round(float(t), 2) for t in THRESHOLDS]} | curves,
            "num_films": self.num_films,
            "num_patients": self.num_patients,
            "test_ids_digest": self.test_ids_digest,
            "num_draws": self.num_draws,
            "seed": self.seed,
            **{name: getattr(self, name) for name in ("not_scored", "remarks", "no_interval", "threshold_remarks")},
        }


def segmentation_card(
    classes: Sequence[str],
    test: Segmented,
    val_curve: Int64[np.ndarray, "V K T 4"] | None,
    thresholds: Float[np.ndarray, "K"],
    threshold_from: ThresholdFrom,
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> SegmentationCard:
    """The card of films whose counts were made at `thresholds`; `val_curve` is of validation films."""
    curves = {"test": test.counts.curve} | ({"val": val_curve} if val_curve is not None else {})
    rests_on = supports_of_masks(test.counts.counts[:, 1:], test.patient_ids, classes)
    metrics = metrics_of_masks(test.counts, test.patient_ids, classes, num_draws=num_draws, seed=seed)
    metrics = bounded(metrics, rests_on, {name: SIDES.get(name, POSITIVE) for name in metrics})
    pooled = metrics["dice_pooled"]
    lone = {name: each.lone() for name, each in rests_on.items() if each.positive_patients == 1}
    return SegmentationCard(
        classes=tuple(classes),
        thresholds=tuple(float(each) for each in thresholds),
        threshold_from=threshold_from,
        metrics=metrics,
        numbers=numbers_of_films(test.counts, classes),
        curves={split: dice(curve.sum(0)) for split, curve in curves.items()},
        num_films=len(test.image_ids),
        num_patients=len(np.unique(test.patient_ids)),
        test_ids_digest=ids_digest(test.image_ids),
        num_draws=num_draws,
        seed=seed,
        not_scored=dict.fromkeys(pooled.not_scored, NO_POSITIVES),
        remarks={name: few for name, each in rests_on.items() if (few := few_positives(each))},
        no_interval=missing_intervals(pooled.scores, lone),
        threshold_remarks=threshold_remarks(val_curve, threshold_from, classes),
    )


def supports_of_masks(
    counts: Int64[np.ndarray, "N K 4"], patient_ids: Shaped[np.ndarray, "N"], classes: Sequence[str]
) -> dict[str, Support]:
    """How many images show each class, and how many do not."""
    shows = counts[..., TP] + counts[..., FN] > 0
    known = np.ones(len(counts), dtype=bool)
    return {name: support_of(shows[:, k], known, patient_ids) for k, name in enumerate(classes)}


def few_positives(support: Support) -> str:
    """Which classes few images show, or none, whose Dice is then 0 wherever the class is predicted."""
    if not support.positives:
        return NO_POSITIVES
    return counted(support.positives, "positive") if support.positives < FEW else ""


def threshold_remarks(
    val_curve: Int64[np.ndarray, "V K T 4"] | None, threshold_from: ThresholdFrom, classes: Sequence[str]
) -> dict[str, str]:
    """Which thresholds few validation images chose, or none; nothing where others chose them."""
    if val_curve is None or threshold_from != "validation films":
        return {}
    shown = ((val_curve[:, :, 0, TP] + val_curve[:, :, 0, FN]) > 0).sum(axis=0).tolist()
    return {
        name: f"threshold fitted on {counted(number, 'positive')}"
        if number
        else f"{MIDDLE}: no validation image shows it"
        for name, number in zip(classes, shown, strict=True)
        if number < FEW
    }


def _plain(values: Float64[np.ndarray, "T"]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
