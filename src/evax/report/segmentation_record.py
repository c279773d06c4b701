"""The results file of a segmentation, and the section of the page of results that shows such files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from evax.report.record import Interval, Result, ResultError, parse

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
COLUMNS = ("dice_pooled", "jaccard_pooled", "dice_with_background", "dice_per_image", "dice_positives", "hd95_px")


@dataclass(frozen=True)
class SegmentationResult:
    """A committed result: `scores` by convention, then class, with the mean over classes last; `numbers` of films.

    `inference` says what the network saw: "whole film", with "flip" or "window=W stride=S". `mask` names the pack's
    mask that was read, and `frame` is the side of the pack's films in pixels; older files tell neither.
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


def summarise_masks(result: SegmentationResult) -> str:
    """Every score of the mean over classes, and pooled Dice of each class, for the terminal."""
    rows = [(LABELS[name], result.scores[name][MEAN]) for name in LABELS]
    if len(result.classes) > 1:
        rows += [(f"Dice, pooled: {name}", result.scores[HEADLINE][name]) for name in result.classes]
    cut = ", ".join(f"{name} {value:g}" for name, value in result.thresholds.items())
    return "\n".join(
        [
            "test masks, 95 % interval over patients",
            *(f"{name:<50} {number(score)}  {bounds(score)}" for name, score in rows),
            f"threshold: {cut}, by {result.threshold_from}; {result.inference}",
            "",
        ]
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
    scores = [f"{number(score)} {bounds(score)}" for score in (result.scores[name][MEAN] for name in COLUMNS)]
    cut = ", ".join(f"{value:g}" for value in result.thresholds.values())
    cells = [result.method, *scores, f"{cut} ({result.threshold_from})", f"{result.num_train:,}"]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _provenance(result: SegmentationResult) -> Iterable[str]:
    counts = "; ".join(
        f"{name}: {of['positive']} positive films ({of['missed']} missed), {of['empty']} empty "
        f"({of['false_alarms']} false alarms)"
        for name, of in result.numbers.items()
    )
    return [
        f"**{result.method}** (`results/segmentation/{result.name}.json`)",
        "",
        f"- command: `{result.command}`",
        f"- commit `{result.commit[:12]}`, config `{result.config_hash[:12]}`, seed {result.seed}, "
        f"train ids `{result.train_ids_digest[:12]}`, {result.inference}",
        f"- {counts}",
        *(f"- {note}" for note in result.notes),
        "",
    ]


def number(score: Interval) -> str:
    """The value, or a dash."""
    return "–" if score.value is None else f"{score.value:.3f}"


def bounds(score: Interval) -> str:
    """The interval in brackets."""
    low, high = (number(Interval(each, None, None)) for each in (score.low, score.high))
    return f"[{low}, {high}]"
