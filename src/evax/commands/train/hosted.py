"""Final scores on the dashboard: from results files into the W&B run of a run directory."""

from collections.abc import Sequence
from pathlib import Path

from evax.callbacks import wandb_logger
from evax.config import instantiate, locate
from evax.report.record import Interval, Result
from evax.report.segmentation_record import LABELS, MEAN, SegmentationResult, covered, read_any
from evax.report.wording import Remarks
from evax.runs.progress import incomplete
from evax.runs.record import RESULT
from evax.runs.subject import read_run

Row = list[str | float | None]


def publish_scores(run_dir: Path, evaluation: Path, rivals: Sequence[Path] = ()) -> None:
    """Put the scores of an evaluation, and of its rivals beside it, into the summary of the run that W&B has.

    `evaluation` and `rivals` are folders that hold a results.json. Nothing happens where the run has no W&B logger.
    """
    run_dir = run_dir.absolute()
    nodes = [node for node in (read_run(run_dir).get("logger") or {}).values() if node]
    for node in nodes:
        if locate(node["_target_"], "logger") is wandb_logger:
            result, *others = (read_result(folder) for folder in (evaluation, *rivals))
            logger = instantiate(node, save_dir=str(run_dir))
            told = {"test/incomplete": "; ".join(notes)} if (notes := incomplete(result.notes)) else {}
            if isinstance(result, SegmentationResult):
                logger.log_scores(*mask_table(result), mask_scores(result) | told)
            else:
                classifiers = [each for each in others if isinstance(each, Result)]
                logger.log_scores(*per_class_table(result, classifiers), final_scores(result, classifiers) | told)
            logger.finalize("success")


def read_result(folder: Path) -> Result | SegmentationResult:
    """The results.json of an evaluation."""
    return read_any((folder / RESULT).read_text(encoding="utf-8"), str(folder / RESULT))


def mask_table(result: SegmentationResult) -> tuple[list[str], list[Row]]:
    """Header and one row a class, with the mean last: every score of its masks, by convention."""
    nothing = Interval(None, None, None)
    rows: list[Row] = [
        [name, *(result.scores[score].get(name, nothing).value for score in LABELS)] for name in (*result.classes, MEAN)
    ]
    return ["class", *LABELS], rows


def mask_scores(result: SegmentationResult) -> dict[str, float | str]:
    """Every score's mean over the classes with its interval, under names for a summary.

    `test/classes` says over how many classes they are, and why not over others, where some could not be scored.
    """
    scores: dict[str, float | str] = {"test/classes": words} if (words := covered(result)) else {}
    for name in LABELS:
        scores |= _interval(f"test/{name}", result.scores[name][MEAN])
    return scores


def per_class_table(result: Result, rivals: Sequence[Result] = ()) -> tuple[list[str], list[Row]]:
    """Header and one row a finding, with the macro mean last: AUROC and interval, each rival's, and the gain."""
    header = ["finding", "AUROC", "low", "high"]
    beside, missing = Remarks.of(vars(result)), [name for name in result.not_scored if name not in result.findings]
    for rival in rivals:
        header += [f"{rival.name} AUROC", f"{rival.name} low", f"{rival.name} high", f"minus {rival.name}"]
    rows: list[Row] = []
    for finding in (*result.findings, *missing, "macro"):
        own = _score(result, finding)
        row: Row = [finding, own.value, own.low, own.high]
        for rival in rivals:
            other = _score(rival, finding)
            row += [other.value, other.low, other.high, _minus(own.value, other.value)]
        rows.append(row)
    words = {row[0]: beside.words(str(row[0])) for row in rows}
    if any(words.values()):
        header, rows = [*header, "remark"], [[*row, words[row[0]]] for row in rows]
    return header, rows


def final_scores(result: Result, rivals: Sequence[Result] = ()) -> dict[str, float | str]:
    """The macro AUROC with its interval, each rival's, and the paired differences, under names for a summary.

    `test/findings` says over how many findings it is, and why not over others, where some could not be scored.
    """
    scores: dict[str, float | str] = dict(_interval("test/auroc_macro", result.auroc_macro))
    if ";" in (words := covered(result)):
        scores["test/findings"] = words
    for rival in rivals:
        scores |= _interval(f"test/auroc_macro_{rival.name}", rival.auroc_macro)
    for comparison in result.comparisons:
        scores |= _interval(f"test/gain_over_{comparison.rival}", comparison.auroc_macro)
    return scores


def _score(result: Result, finding: str) -> Interval:
    return result.auroc_macro if finding == "macro" else result.auroc.get(finding, Interval(None, None, None))


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _interval(name: str, score: Interval) -> dict[str, float]:
    named = {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return {key: value for key, value in named.items() if value is not None}
