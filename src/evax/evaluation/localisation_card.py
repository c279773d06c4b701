"""What maps find, in the mean over boxes: AP25, AP50, mAP and mIoU at a threshold, and scores that need none.

"AP" is the published code's word: the share of boxes with an IoU above 0.25 or 0.5, and mAP the mean of the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from evax.evaluation.bootstrap import Estimate, estimate
from evax.evaluation.localisation import THRESHOLDS, RegionScores
from evax.evaluation.metric import Metric, metric_of
from evax.evaluation.patient_draws import Patients, group_by_patient, resample
from evax.evaluation.study import estimate_to_json

Protocol = Literal["clean", "official"]
AT_THRESHOLD = ("ap25", "ap50", "map", "miou")
FREE = ("pointing", "energy", "pixel_auroc")
METRICS = (*AT_THRESHOLD, *FREE)


# Shapes: M boxes, P patients, G groups (all boxes, then each finding), D draws, T thresholds, A and K metrics
class Boxes(NamedTuple):
    """Whose film each box is on, and what it surrounds."""

    patient_ids: Shaped[np.ndarray, "M"]
    findings: Shaped[np.ndarray, "M"]


@dataclass(frozen=True, slots=True)
class Localisation:
    """Means over all boxes and per finding, with intervals over patients, of one kind of map.

    `thresholds` has the threshold of each box: one for all under official, one for each patient under clean, NaN of a
    lone patient.
    """

    pooled: dict[str, Estimate]
    metrics: dict[str, Metric]
    thresholds: Float[np.ndarray, "M"]

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        is_known = not np.isnan(self.thresholds).any()
        low, middle, high = np.quantile(self.thresholds, (0, 0.5, 1)).tolist() if is_known else (None,) * 3
        return {
            "threshold": {"median": middle, "min": low, "max": high},
            **{
                name: {"pooled": estimate_to_json(self.pooled[name]), **metric.to_json()}
                for name, metric in self.metrics.items()
            },
        }


def localisation(
    scores: RegionScores,
    boxes: Boxes,
    findings: Sequence[str],
    *,
    protocol: Protocol = "clean",
    num_draws: int = 1000,
    seed: int = 0,
) -> Localisation:
    """Every metric of some boxes.

    Under "official" the threshold is the one that maximises mAP on the very boxes that are scored, and every resample
    searches its own. Under "clean" the threshold of a patient's boxes maximises mAP on the boxes of all other
    patients. Nothing can choose the threshold of a lone patient: then it is NaN, and so are AP and mIoU.
    """
    patients = group_by_patient(boxes.patient_ids)
    is_official = protocol == "official"
    chosen = official_threshold(scores.iou) if is_official else thresholds_of_others(scores.iou, patients.of_film)
    at_threshold = searched(scores.iou) if is_official else fixed(scores.iou, chosen)
    thresholds = THRESHOLDS[np.broadcast_to(chosen, len(scores.iou))]
    if not is_official and len(patients.names) == 1:
        at_threshold, thresholds = np.full_like(at_threshold, np.nan), np.full_like(thresholds, np.nan)
    free = np.stack([getattr(scores, name) for name in FREE], axis=1)
    values = np.concatenate([at_threshold.reshape(len(free), -1), free], axis=1)  # (M, V)
    groups = np.stack([np.ones(len(free), bool), *(boxes.findings == finding for finding in findings)])
    is_defined = (~np.isnan(values)).astype(np.float64)
    sums, counts = (per_patient(each, groups, patients) for each in (values, is_defined))

    def statistic(draws: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D K G"]:
        total, count = (table @ draws for table in (sums, counts))
        means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return np.moveaxis(at_best_threshold(means) if is_official else means, (0, 1, 2), (2, 1, 0))

    found = resample(statistic, patients, num_draws=num_draws, seed=seed)
    pooled, metrics = {}, {}
    for row, name in enumerate(METRICS):
        pooled[name] = estimate(float(found.value[row, 0]), found.draws[:, row, 0])
        metrics[name] = metric_of(found.value[row, 1:], found.draws[:, row, 1:], findings)
    return Localisation(pooled, metrics, thresholds)


def official_threshold(iou: Float[np.ndarray, "M T"]) -> Int[np.ndarray, ""]:
    """Place in THRESHOLDS of the highest mAP over all boxes; at equal mAP the lowest threshold."""
    return np.asarray(hits(iou).mean(0).argmax())


def thresholds_of_others(iou: Float[np.ndarray, "M T"], patient_of_box: Int[np.ndarray, "M"]) -> Int[np.ndarray, "M"]:
    """For each box the place in THRESHOLDS of the highest mAP over the boxes of all other patients."""
    hit = hits(iou)
    of_patient = np.zeros((patient_of_box.max() + 1, len(THRESHOLDS)))
    np.add.at(of_patient, patient_of_box, hit)
    return (hit.sum(0) - of_patient).argmax(1)[patient_of_box]


def hits(iou: Float[np.ndarray, "M T"]) -> Float[np.ndarray, "M T"]:
    """What each box adds to mAP: 0, 0.5 above an IoU of 0.25, 1 above 0.5."""
    return ((iou > 0.25).astype(np.float64) + (iou > 0.5)) / 2


def searched(iou: Float[np.ndarray, "M T"]) -> Float[np.ndarray, "M A T"]:
    """AT_THRESHOLD of each box, at every threshold."""
    return np.stack([iou > 0.25, iou > 0.5, hits(iou), iou], axis=1).astype(np.float64)


def fixed(iou: Float[np.ndarray, "M T"], chosen: Int[np.ndarray, "M"]) -> Float[np.ndarray, "M A"]:
    """AT_THRESHOLD of each box, at its own threshold."""
    return searched(iou)[np.arange(len(iou)), :, chosen]


def per_patient(
    values: Float[np.ndarray, "M V"], groups: Bool[np.ndarray, "G M"], patients: Patients
) -> Float[np.ndarray, "G V P"]:
    """Sums over the boxes of each patient in each group; an undefined value adds nothing."""
    sums = np.zeros((len(groups), len(patients.names), values.shape[1]))
    for group, is_in in enumerate(groups):
        np.add.at(sums[group], patients.of_film[is_in], np.nan_to_num(values[is_in]))
    return np.moveaxis(sums, 1, 2)


def at_best_threshold(means: Float[np.ndarray, "G V D"]) -> Float[np.ndarray, "G K D"]:
    """The metrics of each group and draw, at the threshold with the highest mAP over all boxes of that draw."""
    num_groups, _, num_draws = means.shape
    count = len(AT_THRESHOLD) * len(THRESHOLDS)
    by_threshold = means[:, :count].reshape(num_groups, len(AT_THRESHOLD), len(THRESHOLDS), num_draws)
    best = by_threshold[0, AT_THRESHOLD.index("map")].argmax(0)  # (D,)
    return np.concatenate([by_threshold[:, :, best, np.arange(num_draws)], means[:, count:]], axis=1)


def mean_over_patients(
    values: Float[np.ndarray, "M"], patient_ids: Shaped[np.ndarray, "M"], *, num_draws: int = 1000, seed: int = 0
) -> Estimate:
    """The mean of some values with its interval over patients."""
    patients = group_by_patient(patient_ids)
    sums, counts = (
        per_patient(each[:, None], np.ones((1, len(values)), bool), patients)[0]
        for each in (values, np.ones(len(values)))
    )
    found = resample(lambda draws: ((sums @ draws) / (counts @ draws))[0], patients, num_draws=num_draws, seed=seed)
    return estimate(float(found.value), found.draws)
