"""How far a training has come: what ended before its last step is no result, and is never shown without saying so."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from evax.checkpoints.export import read_config, run_folder
from evax.checkpoints.files import STEP_FILES, CheckpointReadError, load_plain, step_of
from evax.checkpoints.names import BEST, CHECKPOINTS, METRICS
from evax.checkpoints.weight_files import find_file

INCOMPLETE = "incomplete training"  # opens what is said of it


class Progress(NamedTuple):
    """The optimizer step that was reached, and the last one of the whole training."""

    step: int
    total: int

    @property
    def is_complete(self) -> bool:
        """Whether the last step was taken."""
        return self.step >= self.total

    def __str__(self) -> str:
        return f"step {self.step} of {self.total}"


def notes_on_progress(weights: Path) -> list[str]:
    """What must be said of a run (its folder, or a checkpoint in it) or file whose training is not complete."""
    found = progress_of(weights)
    if found is None or found.is_complete:
        return []
    file = find_file(weights)
    is_alone = file.suffix == ".ckpt" and not read_config(run_folder(file))
    return [f"{INCOMPLETE}: {found}" + ", or an early checkpoint of a complete one" * is_alone]


def incomplete(notes: Iterable[str]) -> list[str]:
    """Those of some notes that tell of an incomplete training."""
    return [note for note in notes if INCOMPLETE in note]


def progress_of(weights: Path) -> Progress | None:
    """How far the run of `weights` has come, by its folder or best checkpoint; of another file, how far it is itself.

    All steps are those of the configuration, or of the newest checkpoint where that was written for more epochs.
    None where nothing tells: of files of others, and of runs of versions that did not keep it.
    """
    file = find_file(weights)
    run_dir = run_folder(file)
    config = read_config(run_dir)
    told = _told(file)
    if told is None or not config:
        return told and told.progress
    newest = (newest_step(run_dir) or _last_row(run_dir / METRICS)) if file.name == BEST else 0
    epochs = max(config["trainer"]["max_epochs"], planned_epochs(run_dir) or told.epochs)
    return Progress(newest or told.progress.step, told.total(epochs))


def planned_epochs(run_dir: Path) -> int:
    """The epochs that the newest checkpoint of a run that tells them was written for, 0 before there is one."""
    files = sorted(run_dir.glob(f"{CHECKPOINTS}/{STEP_FILES}"), key=step_of, reverse=True)
    return next((told.epochs for file in files if (told := _told(file))), 0)


def newest_step(run_dir: Path) -> int:
    """The step of a run's newest checkpoint, 0 before there is one."""
    return max(0, 0, *map(step_of, run_dir.glob(f"{CHECKPOINTS}/{STEP_FILES}")))


class _Told(NamedTuple):
    """What a file says: how far it is, and the steps of an epoch (0: not told)."""

    progress: Progress
    steps_per_epoch: int = 0

    @property
    def epochs(self) -> int:
        """The epochs that the file was written for (0: not told)."""
        return self.progress.total // self.steps_per_epoch if self.steps_per_epoch else 0

    def total(self, max_epochs: int) -> int:
        """All steps of so many epochs, which may have become more since the file was written."""
        return self.steps_per_epoch * max_epochs or self.progress.total


def _told(file: Path) -> _Told | None:
    beside: Mapping[str, Any] = {}
    if file.suffix == ".safetensors":
        sidecar = file.with_suffix(".json")
        with suppress(ValueError):
            beside = json.loads(sidecar.read_bytes()) if sidecar.is_file() else {}
    else:
        with suppress(CheckpointReadError):
            beside = load_plain(file, lazily=True)
    match beside:
        case {"progress": [int() as step, int() as total]}:
            return _Told(Progress(step, total))
        case {"global_step": int() as step, "steps_per_epoch": int() as each, "max_epochs": int() as epochs}:
            return _Told(Progress(step, each * epochs), each)
    return None


def _last_row(table: Path) -> int:
    """The newest step of a metrics table, 0 where there is none."""
    steps = re.findall(r"^(\d+),", table.read_text(encoding="utf-8"), re.MULTILINE) if table.is_file() else []
    return int(steps[-1]) if steps else 0
