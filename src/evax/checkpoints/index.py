"""`index.json`: what is known about the checkpoints of a folder (step, metric, sha256)."""

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from evax.checkpoints.atomic import replacing

INDEX_NAME = "index.json"
log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One checkpoint: file name, optimizer step, sha256 of the file, and the monitored metric if any."""

    file: str
    step: int
    sha256: str
    metric: float | None = None


def read_index(folder: Path) -> dict[str, Entry]:
    """The entries that can be trusted, by file name; empty where the index is missing or damaged.

    A file younger than the index was replaced by a writer that was killed before it could say so: its entry
    is left out, and the file is judged by its CRC alone.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
        entries = [Entry(**entry) for entry in content["checkpoints"]]
        damaged = content["sha256"] != _digest(content["checkpoints"])
    except (ValueError, TypeError, KeyError):
        damaged = True
    if damaged:
        log.warning("%s is damaged and is not used; checkpoints are judged by their CRC alone", path)
        return {}
    written = path.stat().st_mtime_ns
    return {e.file: e for e in entries if _modified(folder / e.file) <= written}


def record(folder: Path, entry: Entry) -> None:
    """Add or replace the entry of one file. Call it after the file is in place."""
    _write(folder, (read_index(folder) | {entry.file: entry}).values())


def forget(folder: Path, files: Iterable[str]) -> None:
    """Drop the entries of files that were removed."""
    gone = set(files)
    _write(folder, [entry for entry in read_index(folder).values() if entry.file not in gone])


def _write(folder: Path, entries: Iterable[Entry]) -> None:
    table: list[dict[str, Any]] = [entry._asdict() for entry in sorted(entries)]
    with replacing(folder / INDEX_NAME) as temporary:
        temporary.write_text(json.dumps({"checkpoints": table, "sha256": _digest(table)}, indent=1))


def _digest(table: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0
