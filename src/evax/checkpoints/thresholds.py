"""Where a segmenter's thresholds are written: beside its weights, when its run was scored, or in an export."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evax.checkpoints.weight_files import CHECKPOINTS, Content

THRESHOLDS = "thresholds"  # in results.json, and in the .json beside an export
RESULT = "results.json"


def thresholds_of(content: Content, classes: Sequence[str]) -> tuple[float, ...] | None:
    """A threshold for each class, as chosen when the run was scored; None where nobody tells."""
    told = recorded_thresholds(content)
    return tuple(float(told[name]) for name in classes) if set(classes) <= set(told) else None


def recorded_thresholds(content: Content) -> Mapping[str, float]:
    """What an export, or the results of the run that a checkpoint lies in, say; empty where nothing was chosen."""
    folder = content.file.parent
    result = (folder.parent if folder.name == CHECKPOINTS else folder) / RESULT
    told: Any = content.beside.get(THRESHOLDS)
    if told is None and content.file.suffix != ".safetensors" and result.is_file():
        scored = json.loads(Path(result).read_text(encoding="utf-8"))
        told = scored.get(THRESHOLDS) if scored.get("threshold_from") != "nothing" else None
    return told if isinstance(told, Mapping) else {}
