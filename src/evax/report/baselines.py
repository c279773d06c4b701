"""EVA-X and its rivals: what was published of them, and what runs of ours scored."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evax.report.record import Result
from evax.report.seeds import differing_key, read_settings
from evax.report.segmentation_record import covered

TABLE = Path(__file__).with_suffix(".csv")
RESULT = "results.json"


class BaselinesError(ValueError):
    """Runs that cannot stand in one table; one line naming the run."""


class Baseline(NamedTuple):
    """A row of baselines.csv: a file of conf/backbone, its weights, and the published mAUC in percent."""

    backbone: str
    weights: str
    method: str
    architecture: str
    mauc: float | None
    source: str


class Size(NamedTuple):
    """What a backbone costs on a film of 224 pixels; films a second where they were measured."""

    parameters: int
    macs: int
    films_per_second: float | None = None


class Ours(NamedTuple):
    """Macro AUROC of runs of one backbone, in percent: the mean over seeds, and an interval where there is one run."""

    value: float
    low: float | None
    high: float | None
    num_runs: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.1f} ({self.num_runs} run{'s' * (self.num_runs > 1)})"
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


def read_baselines() -> list[Baseline]:
    """The published table, in its order."""
    with TABLE.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [
        Baseline(
            backbone=row["backbone"],
            weights=row["weights"],
            method=row["method"],
            architecture=row["architecture"],
            mauc=float(row["mauc"]) if row["mauc"] else None,
            source=row["source"],
        )
        for row in rows
    ]


def read_runs(folders: Sequence[Path]) -> tuple[dict[str, Ours], str]:
    """What runs scored, by backbone, and the setting that they share; a folder may also be a multirun's.

    Raises BaselinesError for a folder without results, a backbone that is not in the table or began from random
    numbers, and runs that do not compare: other films, findings, protocol or recipe, or of one backbone with settings
    that differ in more than their seeds.
    """
    found: dict[str, list[Result]] = {}
    begun: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    first: Result | None = None
    for run in (run for folder in folders for run in _runs_in(folder)):
        result = Result.from_json((run / RESULT).read_text(encoding="utf-8"), str(run / RESULT))
        first = first or result
        if result.setting != first.setting:
            raise BaselinesError(f"{run}: scored on other films, findings, protocol or recipe than the runs before it")
        settings = read_settings(run)
        name = _backbone_of(run, settings)
        sibling, known = begun.setdefault(name, (run, settings))
        if key := differing_key(known, settings):
            raise BaselinesError(
                f"{run}: its {key} is not that of {sibling}; runs of one backbone are seeds, give those of one setting"
            )
        found.setdefault(name, []).append(result)
    if first is None:
        return {}, ""
    recipe = f", recipe {first.recipe}" if first.recipe else ""
    scored = f"{first.num_test:,} test films, {covered(first)}"
    setting = f"{first.data}, protocol {first.protocol}{recipe}, {scored}"
    return {name: _mean(each) for name, each in found.items()}, setting


def _runs_in(folder: Path) -> list[Path]:
    if (folder / RESULT).is_file():
        return [folder]
    jobs = sorted((path.parent for path in folder.glob(f"*/{RESULT}")), key=lambda job: (len(job.name), job.name))
    if not jobs:
        raise BaselinesError(f"{folder}: holds no {RESULT}; give fine-tuned runs, or the folder that `-m` has made")
    return jobs


def _backbone_of(run: Path, settings: Mapping[str, Any]) -> str:
    """The backbone of the table that a run fine-tuned."""
    node = settings["backbone"]
    names = {row.weights: row.backbone for row in read_baselines()}
    key = node.get("published") or node["name"]
    if key not in names:
        raise BaselinesError(
            f"{run}: its backbone {key} is none of the table; use backbone={', '.join(names.values())}"
        )
    if settings.get("weights") is None and node.get("weights") is None:
        raise BaselinesError(f"{run}: began from random numbers, which is no row of the table")
    return names[key]


def _mean(results: Sequence[Result]) -> Ours:
    values = [100 * result.auroc_macro.value for result in results if result.auroc_macro.value is not None]
    if not values:
        raise BaselinesError(f"{results[0].name}: {covered(results[0])}; give runs that could be scored")
    low, high = results[0].auroc_macro.low, results[0].auroc_macro.high
    mean = sum(values) / len(values)
    if len(results) > 1 or low is None or high is None:
        return Ours(mean, None, None, len(values))
    return Ours(mean, 100 * low, 100 * high, 1)
