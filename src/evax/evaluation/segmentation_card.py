"""Everything about a segmentation of the test films."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

from evax.evaluation.metric import Metric
from evax.evaluation.predictions import ids_digest
from evax.evaluation.segmentation import THRESHOLDS, SetCounts, dice
from evax.evaluation.segmentation_scores import metrics_of_masks, numbers_of_films

ThresholdFrom = Literal["validation films", "official", "weights", "nothing"]


class Segmented(NamedTuple):
    """Films with what was counted of them."""

    image_ids: Shaped[np.ndarray, "N"]
    patient_ids: Shaped[np.ndarray, "N"]
    counts: SetCounts


@dataclass(frozen=True, slots=True)
class SegmentationCard:
    """Scores of test films at `thresholds`, one a class, and pooled Dice by threshold of test and validation films."""

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
    return SegmentationCard(
        classes=tuple(classes),
        thresholds=tuple(float(each) for each in thresholds),
        threshold_from=threshold_from,
        metrics=metrics_of_masks(test.counts, test.patient_ids, classes, num_draws=num_draws, seed=seed),
        numbers=numbers_of_films(test.counts, classes),
        curves={split: dice(curve.sum(0)) for split, curve in curves.items()},
        num_films=len(test.image_ids),
        num_patients=len(np.unique(test.patient_ids)),
        test_ids_digest=ids_digest(test.image_ids),
        num_draws=num_draws,
        seed=seed,
    )


def _plain(values: Float64[np.ndarray, "T"]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
