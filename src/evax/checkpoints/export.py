"""What is known about the weights of a run or file, for the `.json` beside an export."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from evax.checkpoints.classifiers import Described
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.published import published_file
from evax.checkpoints.segmenters import DescribedSegmenter
from evax.checkpoints.weight_files import CHECKPOINTS, CONFIG, Content, find_file
from evax.data.normalisation import Normalisation


def run_config(file: Path) -> dict[str, Any]:
    """The saved configuration of the run directory that a checkpoint lies in; empty outside one."""
    return read_config(run_folder(file))


def run_folder(file: Path) -> Path:
    """The run directory of a checkpoint in one: the file's folder, or the one above `checkpoints/`."""
    return file.parent.parent if file.parent.name == CHECKPOINTS else file.parent


def start_of(run: Mapping[str, Any]) -> Path | None:
    """The file that a run of this configuration began from; None for none, and where it is gone."""
    weights, backbone = run.get("weights"), run.get("backbone") or {}
    try:
        return find_file(published_file(weights, backbone.get("published"))) if weights else None
    except WeightsError:
        return None


def teacher_of(run: Mapping[str, Any]) -> Path | None:
    """The checkpoint of the run that taught this one, where it is there; films of a published teacher are nobody's."""
    file = start_of(run.get("tokenizer") or {})
    return file if file is not None and run_config(file) else None


def read_config(run_dir: Path) -> dict[str, Any]:
    """The configuration saved in a run directory, as plain types; empty where there is none."""
    path = run_dir / CONFIG
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return config if isinstance(config, dict) else {}


def export_meta(
    content: Content,
    architecture: dict[str, Any],
    normalisation: Normalisation | None,
    config: dict[str, Any],
    task: Described | DescribedSegmenter | None = None,
) -> dict[str, Any]:
    """Architecture, preprocessing of [0, 1] images, tokenizer, protocol and step; null where the file does not tell.

    Of a classifier or segmenter also its classes, and the way from a film to what the backbone sees.
    """
    known: dict[str, Any] | None = normalisation and {"mean": list(normalisation.mean), "std": list(normalisation.std)}
    if task is not None:
        known = (known or {}) | asdict(task.view)
    beside = content.beside
    return (task.to_json() if task is not None else {}) | {
        "architecture": architecture,
        "preprocessing": known,
        "tokenizer": _without_folders(config.get("tokenizer", beside.get("tokenizer"))),
        **{key: config.get(key, beside.get(key)) for key in ("protocol", "recipe")},
        "step": beside.get("global_step", beside.get("step")),
        "source": content.file.name,
    }


def _without_folders(node: Any) -> Any:
    """Absolute paths become file names: an export is for others."""
    if isinstance(node, dict):
        return {key: _without_folders(value) for key, value in node.items()}
    return Path(node).name if isinstance(node, str) and Path(node).is_absolute() else node
