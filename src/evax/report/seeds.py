"""Whether runs may count as seeds of one method: their saved settings differ in nothing else that decides scores."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CONFIG, BEST = "config.yaml", "best.ckpt"  # of a run

PLACE = ("accelerator", "devices", "num_nodes", "strategy")
IDLE = (  # keys of a run's config.yaml that decide no score: what it is called, where it ran, and what came after
    *("name", "paths", "logger", "cluster", "resume", "plan", "then", "sweep", "per_device_batch"),
    *("data.pack", "data.per_device_batch", "data.num_workers", "callbacks.progress"),
    *(f"trainer.{key}" for key in PLACE),
)
FILES = {  # paths that a digest stands for, where it is known
    "weights_sha256": ("weights", "backbone.weights", "model.backbone.weights"),
    "teacher_sha256": ("tokenizer.weights", "model.tokenizer.weights"),
}


def differing_key(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """The first key that decides scores, seeds left out, in which the settings of two runs differ; None without one.

    A key that one of them lacks is null there. Runs that began from other weights differ, unless those are of runs
    that count as seeds themselves.
    """
    there, here = _decisive(first), _decisive(second)
    differing = (key for key in dict.fromkeys([*there, *here]) if there.get(key) != here.get(key))
    return next((key for key in differing if not _are_seeds(key, first, second)), None)


def _are_seeds(key: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two digests are of the best checkpoints of runs that differ in their seeds, and in nothing else."""
    if key not in FILES:
        return False
    there, here = (_run_of(dict(_leaves(each)).get(FILES[key][0])) for each in (first, second))
    if there is None or here is None or there.get("seed") == here.get("seed"):
        return False
    return differing_key(there, here) is None


def _run_of(weights: str | None) -> Mapping[str, Any] | None:
    """The settings of the run whose best checkpoint the weights are, where it is still there."""
    path = Path(weights or BEST)
    folder = path.parent if path.name == BEST else path
    return read_settings(folder) if weights and (folder / CONFIG).is_file() else None


def read_settings(run: Path) -> Any:
    """The settings that a run has saved."""
    return yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))


def _decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    known = [path for digest, paths in FILES.items() if settings.get(digest) for path in paths]
    idle = tuple(f"{key}." for key in (*IDLE, *known))
    return {key: value for key, value in _leaves(settings) if not (key.endswith("seed") or f"{key}.".startswith(idle))}


def _leaves(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values, which may be lists."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
