"""`job.json` in the folder of a multirun's job: what it was asked to do, and how far it is; kept true while it runs."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from evax.config import JOB, explain, multirun_job
from evax.data.atomic import write_atomically
from evax.runs.launch import is_first_rank

RUNNING, SUBMITTED, FINISHED, FAILED, STOPPED = "running", "submitted", "finished", "failed", "stopped"


@contextmanager
def recorded(cfg: DictConfig) -> Iterator[dict[str, Any]]:
    """Record how this process's job starts and ends; the block may change the state in which it leaves the job.

    Nothing happens where there is no job, and on ranks but the first. A job that `resume=` names is one too, and
    keeps what it was asked to do at first.
    """
    folder = job_folder(cfg)
    if folder is None or not is_first_rank():
        yield {}
        return
    left = {"state": FINISHED}
    note(folder, **running())
    try:
        yield left
    except Exception as error:
        left = {"state": FAILED, "error": explain(error)}
        raise
    except BaseException:  # a signal
        left = {"state": STOPPED}
        raise
    finally:
        note(folder, **left)


def is_finished() -> bool:
    """Whether this process's job of a multirun was finished before, by the same words: the command is given again."""
    job = multirun_job()
    file = Path(job.runtime.output_dir) / JOB if job is not None else None
    if file is None or not file.exists():
        return False
    content = json.loads(file.read_text(encoding="utf-8"))
    return content.get("state") == FINISHED and content["overrides"] == list(job.overrides.task)


def job_folder(cfg: DictConfig) -> Path | None:
    """The folder of this process's job, with its record in it; None where it has none."""
    job = multirun_job()
    if cfg.resume is not None and (Path(cfg.resume) / JOB).exists():
        return Path(cfg.resume)
    if job is None:
        return None
    folder = Path(job.runtime.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    sweep: Any = OmegaConf.to_container(cfg.sweep) if cfg.sweep is not None else {}
    content = {
        "overrides": list(job.overrides.task),
        "axis": sweep.get("axis"),
        "paper": said(cfg, sweep.get("paper") or []),
    }
    write_atomically(folder / JOB, json.dumps(content).encode())
    return folder


def said(cfg: DictConfig, paper: Sequence[Any]) -> list[list[str]]:
    """What the paper says of values of the axis: those entries that are of runs like this one.

    An entry is a value and a word, and may go on with keys and what a run must hold under them: a value, one of a
    list, or with "*" anything at all.
    """
    return [
        [value, word]
        for value, word, *kinds in paper
        if all(holds(OmegaConf.select(cfg, key), wanted) for kind in kinds for key, wanted in kind.items())
    ]


def holds(value: Any, wanted: Any) -> bool:
    """Whether a setting is what is wanted of it."""
    if wanted == "*":
        return value is not None
    return value in wanted if isinstance(wanted, list) else bool(value == wanted)


def note(folder: Path, **changes: Any) -> None:
    """Enter changes into the record of a job, where the folder is one's."""
    if (folder / JOB).exists():
        content = json.loads((folder / JOB).read_text(encoding="utf-8"))
        write_atomically(folder / JOB, json.dumps(content | changes).encode())


def running() -> dict[str, Any]:
    """That this process works on the job now; where it is, so that a killed one can be told from a living one."""
    return {"state": RUNNING, "error": None, "host": socket.gethostname(), "pid": os.getpid()}
