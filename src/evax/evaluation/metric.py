"""One metric of a classifier: per class and their mean, each with its interval over patients."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from evax.evaluation.auroc import macro
from evax.evaluation.bootstrap import Estimate, estimate, macro_draws
from evax.evaluation.patient_draws import Resampled
from evax.evaluation.scorable import MACRO, unbounded
from evax.evaluation.study import estimate_to_json


@dataclass(frozen=True, slots=True)
class Metric:
    """Estimates per class, their plain mean over the classes that can be scored, and the names of the others."""

    per_class: dict[str, Estimate]
    macro: Estimate
    not_scored: tuple[str, ...]

    @property
    def scores(self) -> dict[str, Estimate]:
        """The classes, and their mean as MACRO."""
        return self.per_class | {MACRO: self.macro}

    def unbounded(self, lone: Iterable[str]) -> "Metric":
        """The metric without the intervals of classes whose interval would say nothing."""
        return replace(self, per_class=unbounded(self.per_class, lone))

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        return {
            "macro": estimate_to_json(self.macro),
            "per_class": {finding: estimate_to_json(value) for finding, value in self.per_class.items()},
            "not_scored": list(self.not_scored),
        }


# Shapes: D draws, C classes
def metric_of(
    value: Float[np.ndarray, "C"], draws: Float[np.ndarray, "D C"], findings: Sequence[str], *, is_error: bool = False
) -> Metric:
    """The metric of some classes from its value and its draws; for an error of calibration see `estimate_spread`."""
    interval = estimate_spread if is_error else estimate
    is_scored = ~np.isnan(value)
    per_class = {finding: interval(float(value[c]), draws[:, c]) for c, finding in enumerate(findings)}
    over_classes = interval(macro(value).value, macro_draws(draws, is_scored))
    not_scored = tuple(finding for finding, keep in zip(findings, is_scored, strict=True) if not keep)
    return Metric(per_class, over_classes, not_scored)


def estimate_spread(value: float, draws: Float[np.ndarray, "D"]) -> Estimate:
    """The value with the percentile interval of its draws moved so that their median is the value, and cut at 0.

    A sum of absolute gaps grows with the noise that resampling adds, so its plain percentiles can lie wholly above the
    value. The moved interval tells its spread; that the error of few films is itself too high (Kumar et al. 2019), no
    interval tells.
    """
    defined = draws[~np.isnan(draws)]
    if not len(defined) or np.isnan(value):
        return estimate(value, defined[:0])
    moved = estimate(value, defined - np.median(defined) + value)
    return Estimate(value, max(0.0, moved.low), moved.high)


def metrics_of(
    resampled: Resampled, names: Sequence[str], findings: Sequence[str], errors: Sequence[str] = ()
) -> dict[str, Metric]:
    """One metric per name from a statistic (names, C); `errors` are those that `estimate_spread` is for."""
    return {
        name: metric_of(resampled.value[row], resampled.draws[:, row], findings, is_error=name in errors)
        for row, name in enumerate(names)
    }
