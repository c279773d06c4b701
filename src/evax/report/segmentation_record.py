"""The results file of a segmentation, and the section of the page of results that shows such files."""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from evax.report.record import Interval, Result, ResultError, parse
from evax.report.wording import CLASSES, MACRO, Remarks, coverage, label, plain

HEADLINE = "dice_pooled"
MEAN = "mean"  # over the classes
LABELS = {  # of scores, by the convention and who counts so
    "dice_pooled": "Dice, pooled over the set (EVA-X)",
    "jaccard_pooled": "Jaccard, pooled over the set (EVA-X)",
    "dice_per_image": "Dice, mean of films, empty as empty = 1 (Kaggle)",
    "jaccard_per_image": "Jaccard, mean of films, empty as empty = 1",
    "dice_positives": "Dice, mean of positive films",
    "jaccard_positives": "Jaccard, mean of positive films",
    "dice_with_background": "mDice, pooled, background too (mmseg)",
    "jaccard_with_background": "mIoU, pooled, background too (mmseg)",
    "hd95_px": "HD95, pixels",
    "film_sensitivity": "positive films not left empty",
    "film_hit_rate": "positive films hit",
    "film_specificity": "empty films left empty",
}
NEEDED = {  # by scores that some images do not allow, why a class has none; the others need positive images
    "hd95_px": "no image shows the class in truth and prediction",
    "film_specificity": "no empty test images",
    "dice_per_image": "no test images",
    "jaccard_per_image": "no test images",
}
NO_POSITIVES = "no positive test images"
COLUMNS = ("dice_pooled", "jaccard_pooled", "dice_with_background", "dice_per_image", "dice_positives", "hd95_px")


@dataclass(frozen=True)
class SegmentationResult:
    """A committed result: `scores` by convention, then class, with the mean over classes last; `numbers` of films.

    `inference` says what the network saw: "whole film", with "flip" or "window=W stride=S". `mask` names the pack's
    mask that was read, and `frame` is the side of the pack's films in pixels; older files tell neither.
    `remarks` says which classes few test images show or none, `no_interval` why an interval of pooled Dice is missing,
    `threshold_remarks` which thresholds few validation images chose.
    """

    task: Literal["segmentation"]
    name: str
    method: str
    data: str
    protocol: Literal["clean", "official"]
    recipe: Literal["", "code", "paper"]
    classes: tuple[str, ...]
    inference: str
    thresholds: dict[str, float]
    threshold_from: Literal["validation films", "official", "weights", "nothing"]
    scores: dict[str, dict[str, Interval]]
    numbers: dict[str, dict[str, int]]
    num_train: int
    num_test: int
    num_test_patients: int
    num_draws: int
    seed: int
    train_ids_digest: str
    test_ids_digest: str
    config_hash: str
    commit: str
    command: str
    notes: tuple[str, ...]
    mask: str = ""
    frame: int | None = None
    remarks: dict[str, str] = dataclasses.field(default_factory=dict)
    no_interval: dict[str, str] = dataclasses.field(default_factory=dict)
    threshold_remarks: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str, file: str) -> "SegmentationResult":
        """Parse strictly; `file` opens every message."""
        result = parse(cls, text, file)
        if missing := [name for name in LABELS if name not in result.scores]:
            raise ResultError(f"{file}: field 'scores.{missing[0]}' is missing")
        if (result.protocol == "official") == (result.recipe == ""):
            raise ResultError(f"{file}: field 'recipe' is code or paper under protocol official, empty under clean")
        return result

    @property
    def headline(self) -> Interval:
        """Pooled Dice of the foreground, the mean over classes."""
        return self.scores[HEADLINE][MEAN]

    @property
    def setting(self) -> tuple[str, ...]:
        """What two results must share before their numbers may stand side by side."""
        frame = f"{self.frame} pixels" if self.frame is not None else ""
        return (self.data, self.protocol, self.recipe, self.test_ids_digest, self.mask, frame, *self.classes)


def read_any(text: str, file: str) -> Result | SegmentationResult:
    """A results file of either form; that of a segmentation begins with its task."""
    is_ours = re.match(r'\s*{\s*"task":\s*"segmentation"', text)
    return SegmentationResult.from_json(text, file) if is_ours else Result.from_json(text, file)


def headlines(result: Result | SegmentationResult, title: str) -> dict[str, Interval]:
    """The score that a result is known by, `title` where that is a macro AUROC, and its differences to others."""
    if isinstance(result, SegmentationResult):
        return {"pooled Dice": result.headline}
    return {title: result.auroc_macro} | {f"minus {each.rival}": each.auroc_macro for each in result.comparisons}


def covered(result: Result | SegmentationResult) -> str:
    """Over how many findings, or classes, that score is, and why others are not among them."""
    if isinstance(result, SegmentationResult):
        return missing_of(result, HEADLINE)
    return Remarks.of(vars(result)).coverage({name: vars(score) for name, score in result.auroc.items()})


def summarise_masks(result: SegmentationResult) -> str:
    """Every score of the mean over classes, and pooled Dice of each class, for the terminal."""
    lines = [f"{LABELS[name]:<50} {mean_of(result, name)}" for name in LABELS]
    if len(result.classes) > 1:
        beside = Remarks(dict.fromkeys(result.classes, NO_POSITIVES), result.remarks, result.no_interval)
        scores = {name: vars(result.scores[HEADLINE][name]) for name in result.classes}
        lines += [f"{f'Dice, pooled: {name}':<50} {beside.row(name, score)}" for name, score in scores.items()]
    else:
        lines += [f"{label(name)}: {words}" for name, words in result.remarks.items()]
    return "\n".join(
        [
            "test masks, 95 % interval over patients",
            *lines,
            f"threshold: {cut(result)}, by {result.threshold_from}; {result.inference}",
            "",
        ]
    )


def mean_of(result: SegmentationResult, name: str) -> str:
    """A score's mean over the classes for the terminal, and which of them it is not over, and why."""
    score, missing = result.scores[name][MEAN], missing_of(result, name)
    if score.value is None:
        return f"not scored: {NEEDED.get(name, NO_POSITIVES)}"
    why = result.no_interval if name == HEADLINE else {}
    text = Remarks(no_interval={MACRO: why.get(MEAN, "")}).row(MACRO, vars(score))
    return f"{text}  {missing}" if missing else text


def missing_of(result: SegmentationResult, name: str) -> str:
    """Which classes a score does not have, and why; "" where it has them all."""
    scores = {each: result.scores[name].get(each, Interval(None, None, None)) for each in result.classes}
    missing = {each: NEEDED.get(name, NO_POSITIVES) for each, score in scores.items() if score.value is None}
    return coverage(len(scores) - len(missing), missing, CLASSES) if missing else ""


def cut(result: SegmentationResult) -> str:
    """The threshold of each class, and what must be said beside it."""
    return ", ".join(
        f"{name} {value:g}" + (f" ({result.threshold_remarks[name]})" if name in result.threshold_remarks else "")
        for name, value in result.thresholds.items()
    )


def segmentation_section(folder: Path) -> str:
    """The page's section on the results files of segmentations in `folder`; empty without files."""
    files = sorted(folder.glob("*.json"))
    results = [SegmentationResult.from_json(file.read_text(encoding="utf-8"), file.name) for file in files]
    if not results:
        return ""
    ordered = sorted(results, key=lambda result: (result.setting, -(result.headline.value or 0), result.name))
    groups = [_group(list(group)) for _, group in groupby(ordered, key=lambda result: result.setting)]
    return "\n".join(["\n## Segmentation\n", INTRODUCTION, *groups])


INTRODUCTION = """\
Means over the classes; brackets hold 95 % intervals over patients. Conventions differ, and so do the numbers:
[segmentation.md](segmentation.md) has the formulas.
"""


def _group(results: list[SegmentationResult]) -> str:
    first = results[0]
    recipe = f", recipe {first.recipe}" if first.recipe else ""
    mask = f", mask {first.mask}" if first.mask else ""
    mask += f" of {first.frame} pixels" if first.frame is not None else ""
    header = ["method", *(LABELS[name] for name in COLUMNS), "threshold", "train films"]
    return "\n".join(
        [
            f"### {first.data}, protocol {first.protocol}{recipe}{mask}: {', '.join(first.classes)}",
            "",
            f"{first.num_test:,} test films of {first.num_test_patients:,} patients, ids "
            f"`{first.test_ids_digest[:12]}`; {first.num_draws:,} resamples.",
            "",
            f"| {' | '.join(header)} |",
            f"| --- |{' --: |' * (len(header) - 1)}",
            *(_row(result) for result in results),
            "",
            *(line for result in results for line in _provenance(result)),
        ]
    )


def _row(result: SegmentationResult) -> str:
    scores = [plain(Remarks.of(vars(result)).interval(MEAN, vars(result.scores[name][MEAN]))) for name in COLUMNS]
    used = ", ".join(f"{value:g}" for value in result.thresholds.values())
    cells = [result.method, *scores, f"{used} ({result.threshold_from})", f"{result.num_train:,}"]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _provenance(result: SegmentationResult) -> Iterable[str]:
    counts = "; ".join(
        f"{name}: {of['positive']} positive films ({of['missed']} missed), {of['empty']} empty "
        f"({of['false_alarms']} false alarms)"
        for name, of in result.numbers.items()
    )
    told = (result.remarks, result.threshold_remarks)
    return [
        f"**{result.method}** (`results/segmentation/{result.name}.json`)",
        "",
        f"- command: `{result.command}`",
        f"- commit `{result.commit[:12]}`, config `{result.config_hash[:12]}`, seed {result.seed}, "
        f"train ids `{result.train_ids_digest[:12]}`, {result.inference}",
        f"- {counts}",
        *(f"- {LABELS[name]}: {words}" for name in COLUMNS if (words := missing_of(result, name))),
        *(f"- {label(name)}: {words}" for each in told for name, words in each.items()),
        *(f"- {note}" for note in result.notes),
        "",
    ]
