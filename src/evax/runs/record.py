"""What scores leave in a folder: results.json with its summary, and who made it: command, commit and settings."""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evax.data.atomic import write_atomically
from evax.report.segmentation_record import SegmentationResult, read_any, summarise_masks
from evax.report.summary import summarise
from evax.runs.progress import incomplete

RESULT, PREDICTIONS, SUMMARY = "results.json", "predictions.parquet", "summary.txt"


def save_result(folder: Path, content: Mapping[str, Any]) -> str:
    """results.json of either form, checked and whole, and its summary beside it, which is returned.

    The summary begins with what the notes tell of an incomplete training.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    result = read_any(text, RESULT)
    summary = summarise_masks(result) if isinstance(result, SegmentationResult) else summarise(result)
    summary = "".join(f"{note}\n" for note in incomplete(result.notes)) + summary
    write_atomically(folder / RESULT, text.encode())
    (folder / SUMMARY).write_text(summary, encoding="utf-8")
    return summary


def digest(settings: Mapping[str, Any]) -> str:
    """Sixteen digits that change with any of the settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def command_line() -> str:
    """What was typed, ready to be pasted; notes are left out, they stand beside it."""
    words = [word for word in sys.argv[1:] if not word.startswith("notes=")]
    return shlex.join(["python", Path(sys.argv[0]).name, *words])


def commit() -> str:
    """The commit of the working copy, with "+" where it was changed; "unknown" outside git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    revision = git("rev-parse", "--short=12", "HEAD")
    if not revision:
        return "unknown"
    return revision + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
