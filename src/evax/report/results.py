"""The page of results: written from committed results files alone, byte for byte the same each time."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from evax.report.comparison import comparisons_section
from evax.report.explanation import localisation_section
from evax.report.record import Result, read_results
from evax.report.segmentation_record import covered, segmentation_section
from evax.report.wording import MACRO, Remarks, interval, label, number

HEADLINE = "Pneumonia"  # the finding shown beside the macro mean

INTRODUCTION = """\
# Results

Written by `python -m evax.report results` from the files in `results/`; edit neither by hand.

Values are AUROC where a table names nothing else. A macro value is the mean over the findings of its table.
Brackets hold 95 % intervals: percentiles over resampled *patients*, all films of a patient drawn together. A
difference is paired: both methods on the same resamples. Features and regularisation (C) of a probe were chosen by
patient-level cross-validation on the train and val films; the test films were scored once. Numbers of different
sections do not compare. ChestX-ray14 films: NIH Clinical Center (Wang et al., CVPR 2017).
"""


def write_results(folder: Path, page: Path) -> None:
    """Write the page for a folder of results files, with `segmentation/`, `comparisons/GROUP/`, `explanation/`."""
    text = render(read_results(folder)) + segmentation_section(folder / "segmentation")
    text += comparisons_section(folder / "comparisons") + localisation_section(folder / "explanation")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8", newline="\n")


def render(results: Iterable[Result]) -> str:
    """The whole page as Markdown; one section per setting, methods from best to worst."""
    ordered = sorted(results, key=lambda result: (result.setting, -(result.auroc_macro.value or 0), result.name))
    sections = [_section(list(group)) for _, group in groupby(ordered, key=lambda result: result.setting)]
    return "\n".join([INTRODUCTION, *(sections or ["No result is committed yet.\n"])])


def _section(results: list[Result]) -> str:
    first = results[0]
    recipe = f", recipe {first.recipe}" if first.recipe else ""
    lines = [
        f"## {first.data}, protocol {first.protocol}{recipe}",
        "",
        f"{first.num_test:,} test films of {first.num_test_patients:,} patients, "
        f"ids `{first.test_ids_digest[:12]}`; {first.num_draws:,} resamples.",
        "",
        *_summary(results),
        "",
        "### Per finding",
        "",
        *_table(
            ["method", *(label(finding) for finding in first.findings)],
            [[r.method, *(_score(r, finding) for finding in first.findings)] for r in results],
        ),
        "",
        *_differences(results),
        "### How each was made",
        "",
        *(line for result in results for line in _provenance(result)),
    ]
    return "\n".join(lines)


def _summary(results: list[Result]) -> list[str]:
    findings = results[0].findings
    headline = [HEADLINE] if HEADLINE in findings else []
    counts = {covered(result).partition(";")[0].rpartition(" ")[0] for result in results}
    header = [
        "method",
        f"macro over {' or '.join(sorted(counts))}",
        *headline,
        "train films",
        "features",
        "C",
        "CV macro",
    ]
    rows = [
        [
            result.method,
            _bold(_score(result, MACRO)),
            *(_score(result, finding) for finding in headline),
            f"{result.num_train:,}",
            *_choice(result),
        ]
        for result in results
    ]
    return _table(header, rows)


def _choice(result: Result) -> list[str]:
    """What cross-validation chose; dashes for a method without such a choice."""
    if result.chosen is None:
        return ["–", "–", "–"]
    score = f"{number(result.chosen.auroc_macro)} (best of {len(result.trials)})"
    return [result.chosen.features, result.chosen.setting, score]


def _differences(results: list[Result]) -> list[str]:
    methods = {result.name: result.method for result in results}
    rows = [
        [result.method, methods[comparison.rival], interval(vars(comparison.auroc_macro), signed=True)]
        for result in results
        for comparison in result.comparisons
    ]
    if not rows:
        return []
    return ["### Paired differences in macro", "", *_table(["method", "minus", "difference"], rows), ""]


def _provenance(result: Result) -> list[str]:
    words = covered(result)
    return [
        f"**{result.method}** (`results/{result.name}.json`)",
        "",
        f"- command: `{result.command}`",
        f"- commit `{result.commit[:12]}`, config `{result.config_hash[:12]}`, seed {result.seed}, "
        f"train ids `{result.train_ids_digest[:12]}`",
        *([f"- {words}"] if ";" in words else []),
        *(f"- {caution}" for caution in result.cautions),
        *(f"- {note}" for note in result.notes),
        "",
    ]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    alignment = ["---", *["--:"] * (len(header) - 1)]
    return [f"| {' | '.join(_escape(cell) for cell in row)} |" for row in (header, alignment, *rows)]


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _bold(score: str) -> str:
    value, _, beside = score.partition(" ")
    return f"**{value}** {beside}".rstrip()


def _score(result: Result, name: str) -> str:
    score = result.auroc_macro if name == MACRO else result.auroc[name]
    return Remarks.of(vars(result)).interval(name, vars(score))
