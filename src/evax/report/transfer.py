"""How far classifiers carry: every classifier on every test set, over the findings that all of them share."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from evax.report.canvas import slide
from evax.report.confusion import SHADES
from evax.report.curves import INK, MUTED
from evax.report.record import Interval, Result, ResultError
from evax.report.segmentation_record import read_any
from evax.report.wording import coverage, label, number

RESULT = "results.json"
CHANCE, DARK = 0.5, 0.75  # where shades begin, and from where numbers on them are white

Cells = Mapping[tuple[str, str], float]  # mean AUROC by classifier and test set


class Transfer(NamedTuple):
    """A classifier's AUROC on one test set, and why findings have none, by the common name of the finding."""

    classifier: str
    data: str
    auroc: dict[str, Interval]
    not_scored: dict[str, str]


def write_transfer(folder: Path, runs: Sequence[Path], synonyms: Mapping[str, str]) -> str:
    """Write transfer.md, transfer.csv and transfer.png into `folder`; returns the table.

    `runs` are evaluations under `features=classifier`, or folders of multiruns of them; other results below those are
    left out. Rows are classifiers, columns test sets. `synonyms` maps a data set's name of a finding to the common one.
    Raises ResultError where there is no evaluation, a pair comes twice, protocols differ, or no finding was scored in
    all cells.
    """
    transfers = read_transfers(runs, synonyms)
    findings = shared_findings(transfers)
    cells = {(each.classifier, each.data): mean(each, findings) for each in transfers}
    folder.mkdir(parents=True, exist_ok=True)
    text = table(cells) + f"\nMean AUROC over {', '.join(map(label, findings))}; – was not scored.\n"
    if missing := left_out(transfers, findings):
        text += f"{coverage(len(findings), missing)}\n"
    (folder / "transfer.md").write_text(text, encoding="utf-8")
    write_csv(folder / "transfer.csv", transfers)
    draw_transfer(folder / "transfer.png", cells, findings, missing)
    return text


def read_transfers(runs: Sequence[Path], synonyms: Mapping[str, str]) -> list[Transfer]:
    """What the evaluations in each folder say, in their order."""
    results = [found for run in runs for found in _evaluations(run)]
    first = results[0][1]
    transfers: dict[tuple[str, str], Transfer] = {}
    for path, result in results:
        if (result.protocol, result.recipe) != (first.protocol, first.recipe):
            raise ResultError(f"{path}: protocol {result.protocol}, which does not compare with {first.protocol}")
        pair = result.name, result.data
        if pair in transfers:
            raise ResultError(f"{path}: {result.name} on {result.data} comes twice; name= tells classifiers apart")
        auroc = {synonyms.get(finding, finding): value for finding, value in result.auroc.items()}
        missing = {synonyms.get(finding, finding): why for finding, why in result.not_scored.items()}
        transfers[pair] = Transfer(*pair, auroc, missing)
    return list(transfers.values())


def _evaluations(run: Path) -> list[tuple[Path, Result]]:
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(run.glob(f"**/{RESULT}"))}
    found = [(path, read_any(text, str(path))) for path, text in texts.items() if not is_of_maps(text)]
    kept = [(path, each) for path, each in found if isinstance(each, Result) and is_of_classifier(each)]
    if not kept:
        raise ResultError(f"{run}: holds no {RESULT} of features=classifier; give evaluations made by it")
    return kept


def is_of_maps(text: str) -> bool:
    """Whether a results file is that of an explanation."""
    try:
        return "methods" in json.loads(text)
    except ValueError:
        return False  # told by who reads it as a result


def is_of_classifier(result: Result) -> bool:
    """Whether it was made by `features=classifier`: probes and floors chose a setting, and a run names its films."""
    return result.chosen is None and not result.train_ids_digest


def shared_findings(transfers: Sequence[Transfer]) -> list[str]:
    """Findings that were scored everywhere, in the order of the first."""
    scored = [{name for name, auroc in each.auroc.items() if auroc.value is not None} for each in transfers]
    shared = [name for name in transfers[0].auroc if all(name in names for names in scored)]
    if not shared:
        raise ResultError("no finding was scored in all of these evaluations; leave out the one that shares none")
    return shared


def left_out(transfers: Sequence[Transfer], shared: Sequence[str]) -> dict[str, str]:
    """The findings that some cell has not scored, and why in the first of them."""
    names = dict.fromkeys(name for each in transfers for name in (*each.auroc, *each.not_scored) if name not in shared)
    found = {}
    for name in names:
        cell = next(each for each in transfers if (score := each.auroc.get(name)) is None or score.value is None)
        why = cell.not_scored.get(name, "not scored")
        found[name] = f"{why} ({cell.classifier} on {cell.data})"
    return found


def mean(transfer: Transfer, findings: Sequence[str]) -> float:
    """Mean AUROC over some findings."""
    values = [transfer.auroc[name].value for name in findings]
    return sum(value for value in values if value is not None) / len(values)


def names(cells: Cells) -> tuple[list[str], list[str]]:
    """Classifiers and test sets, in the order of their first appearance."""
    return list(dict.fromkeys(row for row, _ in cells)), list(dict.fromkeys(column for _, column in cells))


def table(cells: Cells) -> str:
    """Markdown, one line a classifier."""
    classifiers, data_sets = names(cells)
    rows = [[name, *(number(cells.get((name, data))) for data in data_sets)] for name in classifiers]
    lines = [["classifier \\ test set", *data_sets], ["---", *["--:"] * len(data_sets)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_csv(path: Path, transfers: Sequence[Transfer]) -> None:
    """A line for each finding of each cell, with its 95 % interval; unscored values are empty."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["classifier", "data", "finding", "auroc", "low", "high", "not_scored"])
        for classifier, data, auroc, missing in transfers:
            scored = [[name, *vars(value).values(), missing.get(name, "")] for name, value in auroc.items()]
            others = [[name, "", "", "", why] for name, why in missing.items() if name not in auroc]
            writer.writerows([classifier, data, *row] for row in [*scored, *others])


def draw_transfer(path: Path, cells: Cells, findings: Sequence[str], missing: Mapping[str, str]) -> None:
    """The matrix, shaded from chance upwards."""
    classifiers, data_sets = names(cells)
    values = [[cells.get((row, column), float("nan")) for column in data_sets] for row in classifiers]
    size = 3.6 + 1.7 * len(data_sets), 2.1 + 0.8 * len(classifiers)
    few = ", ".join(map(label, findings[:3])) + (" …" if len(findings) > 3 else "")
    subtitle = f"mean AUROC, {len(findings)} shared findings: {few}"
    if missing:
        subtitle += f"\n{coverage(len(findings), missing)}"
    with slide(path, "Transfer", subtitle, size) as figure:
        axes = figure.subplots()
        axes.imshow(values, cmap=SHADES, vmin=CHANCE, vmax=1, aspect="auto")
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                is_scored = value == value
                color = ("white" if value > DARK else INK) if is_scored else MUTED
                text = number(value if is_scored else None)
                axes.text(column, row, text, ha="center", va="center", fontsize=14, color=color)
        axes.set_xticks(range(len(data_sets)), data_sets)
        axes.set_yticks(range(len(classifiers)), classifiers)
        axes.set_xlabel("test films", color=MUTED)
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines[:].set_visible(False)
