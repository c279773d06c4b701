"""What a score rests on: how many images and patients show a finding, why it has no score, and when they are few."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real, Shaped

from evax.data.files import counted
from evax.evaluation.bootstrap import Estimate
from evax.evaluation.study import LabelledFilms, StudyResult, estimate_to_json

FEW = 10  # positives, or negatives, below which a score or a threshold says little
NO_OUTPUT = "class not in the model's outputs"
NO_LABEL = "no known label"
MACRO = "macro"  # the mean over findings, among their names
NO_DRAWS = "too few resamples hold both positives and negatives"
NO_WHOLE_DRAWS = "too few resamples hold every finding"


# Shapes: N images, C findings
class Support(NamedTuple):
    """How many images of known label show a finding or do not, and of how many patients."""

    positives: int
    negatives: int
    positive_patients: int
    negative_patients: int
    has_output: bool = True

    def reason(self, split: str = "test") -> str:
        """Why the finding has no AUROC; "" where it has one."""
        if not self.has_output:
            return NO_OUTPUT
        if not self.positives and not self.negatives:
            return NO_LABEL
        if not self.positives or not self.negatives:
            return f"no {'negative' if self.positives else 'positive'} {split} images"
        return ""

    def remark(self) -> str:
        """Which of its images are few, such as "5 positives"; "" where none are."""
        numbers = {"positive": self.positives, "negative": self.negatives}
        return ", ".join(counted(number, word) for word, number in numbers.items() if 0 < number < FEW)

    def lone(self) -> str:
        """Why an interval over patients would say nothing, such as "1 positive patient"; "" where it says something."""
        numbers = {"positive": self.positive_patients, "negative": self.negative_patients}
        return " and ".join(f"1 {word} patient" for word, number in numbers.items() if number == 1)

    def fitted(self, what: str) -> str:
        """What must be said of a threshold or temperature that these images chose; "" where there are enough."""
        few = [counted(number, word) for word, number in (("positive", self.positives), ("negative", self.negatives))
               if number < FEW]  # fmt: skip
        return f"{what} fitted on {' and '.join(few)}" if few else ""


def support_of(
    is_positive: Bool[np.ndarray, "N"],
    is_known: Bool[np.ndarray, "N"],
    patient_ids: Shaped[np.ndarray, "N"],
    *,
    has_output: bool = True,
) -> Support:
    """The support of one finding."""
    sides = (is_known & is_positive, is_known & ~is_positive)
    positives, negatives = (int(np.count_nonzero(side)) for side in sides)
    owners, others = (len(np.unique(patient_ids[side])) for side in sides)
    return Support(positives, negatives, owners, others, has_output)


def supports(
    films: LabelledFilms, findings: Sequence[str], scores: Float[np.ndarray, "N C"] | None = None
) -> dict[str, Support]:
    """The support of every finding; a column of `scores` that is wholly NaN is a class that the model lacks."""
    known = np.ones(films.targets.shape, dtype=bool) if films.is_known is None else films.is_known
    lacking = np.zeros(len(findings), dtype=bool) if scores is None else np.isnan(scores).all(axis=0)
    return {
        finding: support_of(films.targets[:, c] == 1, known[:, c], films.patient_ids, has_output=not lacking[c])
        for c, finding in enumerate(findings)
    }


def reasons(found: Mapping[str, Support], split: str = "test") -> dict[str, str]:
    """Each finding without a score, and why."""
    return {finding: why for finding, each in found.items() if (why := each.reason(split))}


def remarks(found: Mapping[str, Support]) -> dict[str, str]:
    """Each finding that is scored on few images, and how many."""
    return {finding: few for finding, each in found.items() if not each.reason() and (few := each.remark())}


def lone_patients(found: Mapping[str, Support]) -> dict[str, str]:
    """Each finding that is scored and whose score has no interval over patients, and why."""
    return {finding: why for finding, each in found.items() if not each.reason() and (why := each.lone())}


def too_few(
    findings: Sequence[str], targets: Sequence[Real[np.ndarray, "_ C"]], splits: Sequence[str], least: int
) -> dict[str, str]:
    """Each finding with fewer than `least` positives in one of some splits, and where."""
    found = {}
    for c, finding in enumerate(findings):
        numbers = {split: int((each[:, c] == 1).sum()) for split, each in zip(splits, targets, strict=True)}
        short = {split: number for split, number in numbers.items() if number < least}
        words = [counted(number, f"positive {split} image") for split, number in short.items()]
        if short:
            found[finding] = " and ".join(words) + f", fewer than {least}" * any(short.values())
    return found


def unbounded(scores: Mapping[str, Estimate], lone: Iterable[str]) -> dict[str, Estimate]:
    """Scores of findings, those of `lone` patients without their intervals, which would say nothing."""
    names, nan = set(lone), float("nan")
    return {name: Estimate(score.value, nan, nan) if name in names else score for name, score in scores.items()}


def said_of(study: StudyResult, left_out: Mapping[str, str]) -> dict[str, object]:
    """The fields of a results file that say what its scores rest on, and the scores without intervals that say nothing.

    `left_out` has findings that were not asked of the study, and why.
    """
    found = supports(study.test, study.findings, study.scores)
    scores = unbounded(study.auroc, lone_patients(found))
    return {
        "auroc": {finding: estimate_to_json(score) for finding, score in scores.items()},
        "not_scored": reasons(found) | dict(left_out),
        "remarks": remarks(found),
        "no_interval": missing_intervals(scores | {MACRO: study.auroc_macro}, lone_patients(found)),
    }


def missing_intervals(scores: Mapping[str, Estimate], lone: Mapping[str, str]) -> dict[str, str]:
    """Why findings, or their mean (MACRO), have a value and no interval."""
    scored = {name: score for name, score in scores.items() if not np.isnan(score.value)}
    found = {name: lone.get(name, NO_DRAWS) for name, score in scored.items() if np.isnan(score.low)}
    if MACRO in found:
        others = [name for name in scored if name != MACRO]
        found[MACRO] = lone[others[0]] if all(name in lone for name in others) else NO_WHOLE_DRAWS
    return found
