"""A multirun as one table and one plot: what varied, what came out, and the paper's value beside it."""

import csv
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evax.report.segmentation_record import covered, headlines, read_any

JOB, METRICS = "job.json", "metrics.csv"
RESULTS = {  # of a job's folder, and what the macro AUROC in it is called
    Path("results.json"): "macro AUROC",
    Path("finetune") / "results.json": "fine-tuned macro AUROC",
    Path("evaluation") / "backbone" / "results.json": "probe macro AUROC",
}
RUNNING, SUBMITTED, FINISHED, FAILED, STOPPED = "running", "submitted", "finished", "failed", "stopped"
LAST = {
    "val/cosine_excess": "excess cosine",
    "val/linear_auroc": "probe on val",
    "val/auroc_macro": "AUROC on val",
    "val/dice": "Dice on val",
}  # of metrics.csv, newest values


class SweepError(ValueError):
    """A folder without jobs; one line naming it."""


class Score(NamedTuple):
    """A value with its 95 % interval where there is one, and what belongs beside it: over how many findings it is."""

    value: float
    low: float | None = None
    high: float | None = None
    remark: str = ""

    def __str__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{interval}{f' ({self.remark})' if self.remark else ''}"


class Job(NamedTuple):
    """One job of a multirun: its overrides, how far it is, and its scores or the error that ended it.

    `axis` is the key that the multirun is about, and `paper` what the paper says of its values. `missing` says by the
    name of a score which findings it is not over, and why.
    """

    number: int
    overrides: dict[str, str]
    state: str
    scores: dict[str, Score]  # of a finished job
    error: str | None
    axis: str | None
    paper: dict[str, str]
    missing: dict[str, str]


def read_jobs(folder: Path, *, have_ended: bool = False) -> list[Job]:
    """All jobs of a sweep's folder that have begun, in order; SweepError where there is none.

    A job that says it runs while its process is gone was stopped; so were all such jobs where they `have_ended`.
    """
    paths = [path for path in folder.glob(f"*/{JOB}") if path.parent.name.isdigit()]
    jobs = [_read_job(path.parent, have_ended=have_ended) for path in paths]
    if not jobs:
        raise SweepError(f"{folder}: holds no jobs of a multirun; give the folder that `-m` has made")
    return sorted(jobs, key=lambda job: job.number)


def write_sweep(folder: Path, jobs: Sequence[Job]) -> str:
    """Write sweep.md, sweep.csv and, where something was scored, sweep.png; returns the table and the failures."""
    keys = varied(jobs)
    finished = [job for job in jobs if job.state == FINISHED]
    failed = [f"job {job.number} ({named(job, keys)}) failed: {job.error}" for job in jobs if job.state == FAILED]
    header, rows = table([job for job in jobs if job.state != FAILED], keys)
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    below = [*_unscored(finished), *failed]
    text = "\n".join([*_markdown(header, rows), *(["", *below] if below else [])]) + "\n"
    (folder / "sweep.md").write_text(text, encoding="utf-8")
    if any(job.scores for job in finished):
        draw(finished, keys).savefig(folder / "sweep.png", dpi=160, metadata={"Software": None})
    return text


def _unscored(jobs: Sequence[Job]) -> list[str]:
    """Which findings scores are not over, and why; what is true of several jobs once."""
    numbers: dict[str, list[str]] = {}
    for job in jobs:
        for name, words in job.missing.items():
            numbers.setdefault(f"{name}: {words}", []).append(str(job.number))
    return [f"job{'s' * (len(each) > 1)} {', '.join(each)}: {words}" for words, each in numbers.items()]


def varied(jobs: Sequence[Job]) -> list[str]:
    """The keys whose overrides differ between jobs, in the order of the command line."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.overrides))
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


def named(job: Job, keys: Sequence[str]) -> str:
    """A job by what varied."""
    return " ".join(f"{key}={job.overrides[key]}" for key in keys if key in job.overrides)


def table(jobs: Sequence[Job], keys: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and one row a job: what varied, every score, the paper's word, and the state where not all finished."""
    scores = list(dict.fromkeys(name for job in jobs for name in job.scores))
    has_paper = any(word for job in jobs for word in job.paper.values())
    has_state = any(job.state != FINISHED for job in jobs)
    header = ["job", *keys, *scores, *["paper"] * has_paper, *["state"] * has_state]
    rows = []
    for job in jobs:
        row = [str(job.number), *(job.overrides.get(key, "") for key in keys)]
        row += [str(job.scores[name]) if name in job.scores else "" for name in scores]
        row += [job.paper.get(job.overrides.get(job.axis or "", ""), "")] * has_paper
        rows.append(row + [job.state] * has_state)
    return header, rows


def draw(jobs: Sequence[Job], keys: Sequence[str]) -> Figure:
    """One panel a score: every job as a point with its interval, named by what varied."""
    names = list(dict.fromkeys(name for job in jobs for name in job.scores))
    figure = Figure(figsize=(3.4 * len(names) + 1.6, 0.34 * len(jobs) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    places = range(len(jobs))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False, sharey=True)[0], names, strict=True):
        for place, job in zip(places, jobs, strict=True):
            score = job.scores.get(name)
            if score is None:
                continue
            axes.plot(score.value, place, "o", color="#1f5fa8", markersize=4)
            if score.low is not None:
                axes.plot([score.low, score.high], [place, place], color="#1f5fa8", linewidth=1.2)
        axes.set_title(name, loc="left", fontsize=9, fontweight="bold")
        axes.set_yticks(list(places), [named(job, keys) for job in jobs])
        axes.tick_params(length=0, labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.grid(visible=True, color="#e4e7eb", linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_ylim(len(jobs) - 0.5, -0.5)
    return figure


def _read_job(folder: Path, *, have_ended: bool) -> Job:
    content = json.loads((folder / JOB).read_text(encoding="utf-8"))
    words = (word.lstrip("+~").partition("=") for word in content["overrides"])
    overrides = {key: value for key, _, value in words}
    error = content.get("error")
    state = content.get("state") or (FAILED if error else FINISHED)
    if state in (RUNNING, SUBMITTED):
        state = STOPPED if have_ended else _present_state(folder, state, content)
    paper = {str(value): str(word or "") for value, word in content.get("paper", [])}
    scores, missing = _scores(folder) if state == FINISHED else ({}, {})
    return Job(int(folder.name), overrides, state, scores, error, content.get("axis"), paper, missing)


def _present_state(folder: Path, state: str, content: Mapping[str, Any]) -> str:
    """What is true of a job that was running or submitted last: a process of this machine can be asked."""
    if state == SUBMITTED:
        return SUBMITTED
    if content["host"] == socket.gethostname():
        return RUNNING if _is_alive(content["pid"]) else STOPPED
    files = [folder / JOB, folder / METRICS]
    silent = time.time() - max(file.stat().st_mtime for file in files if file.exists())
    return f"{RUNNING} on {content['host']}, silent for {silent / 60:.0f} min"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _scores(folder: Path) -> tuple[dict[str, Score], dict[str, str]]:
    """The scores of a job, and by their names which findings they are not over."""
    scores: dict[str, Score] = {}
    missing: dict[str, str] = {}
    for path, title in RESULTS.items():
        if not (folder / path).exists():
            continue
        result = read_any((folder / path).read_text(encoding="utf-8"), str(folder / path))
        intervals = headlines(result, title)
        first, words = next(iter(intervals)), covered(result)
        if ";" in words:
            missing[first] = words
        over = [words.partition(";")[0]] if ";" in words else []
        scores |= {
            name: Score(i.value, i.low, i.high, "; ".join([*over, *["no interval"] * (i.low is None)]))
            for name, i in intervals.items()
            if i.value is not None
        }
    if (folder / METRICS).exists():
        with (folder / METRICS).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for column, name in LAST.items():
            values = [row[column] for row in rows if row.get(column)]
            scores |= {name: Score(float(values[-1]))} if values else {}
    return scores, missing


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(header), line(["-" * width for width in widths]), *map(line, rows)]
