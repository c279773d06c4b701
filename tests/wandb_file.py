"""What W&B's offline files would upload, for tests that ask about it."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from evax.callbacks.hosted_file import records


class HostedRun(NamedTuple):
    """What one or several offline files would upload."""

    run: Any  # id, group, job type, tags
    config: dict[str, Any]
    history: list[dict[str, Any]]
    axes: dict[str, str]  # metric or pattern -> its axis
    summary: dict[str, Any]
    files: list[str]  # relative to the folder `files`

    @property
    def steps(self) -> list[int]:
        """The steps with a training loss, as they come."""
        return [row["_step"] for row in self.history if "train/loss" in row]


def offline_files(run_dir: Path) -> list[Path]:
    """The offline files of a run directory in the order in which they were begun."""
    return sorted(run_dir.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime_ns)


def read_finished(run_dir: Path) -> HostedRun:
    """What the files of a run hold that this process has just finished: W&B writes their ends a little later."""
    files, deadline = offline_files(run_dir), time.monotonic() + 30
    while not all(_has_exit(file) for file in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    return read_offline(*files)


def _has_exit(file: Path) -> bool:
    return any(record.WhichOneof("record_type") == "exit" for record in records(file.read_bytes()))


def read_offline(*files: Path) -> HostedRun:
    """Everything that a test asks about; of several files of a run, what they hold together."""
    found = HostedRun(None, {}, [], {}, {}, [])
    for file in files:
        for record in records(file.read_bytes()):
            found = _with(found, record)
    return found


def _with(found: HostedRun, record: Any) -> HostedRun:
    match record.WhichOneof("record_type"):
        case "run":
            found.config.update(_values(record.run.config.update))
            return found._replace(run=record.run)
        case "config":
            found.config.update(_values(record.config.update))
        case "history":
            found.history.append(_values(record.history.item))
        case "metric":
            found.axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
        case "summary":
            found.summary.update(_values(record.summary.update))
        case "files":
            found.files.extend(item.path for item in record.files.files)
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
