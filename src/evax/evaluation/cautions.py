"""What must be said beside the numbers of a report card: missing intervals, few images, calibration that got worse."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from evax.evaluation.exclusive import ExclusiveScores
from evax.evaluation.metric import Metric
from evax.evaluation.scorable import Support

POSITIVE, NEGATIVE = ("positive_patients",), ("negative_patients",)
SIDES = {
    **dict.fromkeys(("auroc", "auprc", "sensitivity_at_specificity", "f1", "ppv"), POSITIVE + NEGATIVE),
    "sensitivity": POSITIVE,
    "specificity": NEGATIVE,
}
WORSE = {"ece": "ECE", "brier": "the Brier score"}  # what scaling should lower
NOTICED = 1e-4  # a rise of either below which nothing is said


def bounded(
    metrics: Mapping[str, Metric], rests_on: Mapping[str, Support], sides: Mapping[str, Sequence[str]] = SIDES
) -> dict[str, Metric]:
    """The metrics without the intervals of classes of which one patient has all images that the metric rests on.

    `sides` has those images of each metric, as fields of `Support`; a metric that is not in it rests on all images.
    """
    found = {}
    for name, metric in metrics.items():
        lone = [
            each for each, support in rests_on.items() if 1 in (getattr(support, side) for side in sides.get(name, ()))
        ]
        found[name] = metric.unbounded(lone)
    return found


def threshold_remarks(fitted: Mapping[str, Support]) -> dict[str, str]:
    """What must be said beside a threshold, by the validation images that chose it; `fitted` is empty without those."""
    return {
        finding: f"no threshold: {why}" if (why := each.reason("validation")) else few
        for finding, each in fitted.items()
        if (few := each.fitted("threshold")) or each.reason("validation")
    }


def temperature_remarks(fitted: Mapping[str, Support], *, shared: bool) -> tuple[str, ...]:
    """Of the temperature that all findings share: which few validation images chose it, or why there is none."""
    if not fitted or not shared:
        return ()
    positives, negatives = (sum(each[side] for each in fitted.values()) for side in (0, 1))
    together = Support(positives, negatives, 0, 0)
    if why := together.reason("validation"):
        return (f"no temperature: {why}",)
    return (few,) if (few := together.fitted("temperature")) else ()


def worse_calibration(metrics: Mapping[str, Metric], exclusive: ExclusiveScores | None) -> tuple[str, ...]:
    """What temperature scaling made worse on test images, in the mean and of the called class, and what to use."""
    pairs = {
        words: _means_of_both(metrics[name], metrics[f"{name}_calibrated"])
        for name, words in WORSE.items()
        if f"{name}_calibrated" in metrics
    }
    if exclusive is not None:
        pairs["ECE of the called class"] = (exclusive.ece.value, exclusive.ece_calibrated.value)
    return tuple(
        f"temperature scaling raised {words} {before:.{digits}f} -> {after:.{digits}f}; "
        "use the uncalibrated probabilities"
        for words, (before, after) in pairs.items()
        if after > before + NOTICED
        for digits in (3 if f"{before:.3f}" != f"{after:.3f}" else 4,)
    )


def _means_of_both(before: Metric, after: Metric) -> tuple[float, float]:
    """The means of two metrics over the classes that both have."""
    values = [(before.per_class[name].value, after.per_class[name].value) for name in before.per_class]
    both = [pair for pair in values if not np.isnan(pair).any()]
    if not both:
        return math.nan, math.nan
    first, second = np.mean(both, axis=0).tolist()
    return first, second
