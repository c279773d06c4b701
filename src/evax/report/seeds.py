"""Whether runs may count as seeds of one method: their saved settings differ in nothing else that decides scores."""

from collections.abc import Iterator, Mapping
from typing import Any

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

    A key that one of them lacks is null there.
    """
    there, here = _decisive(first), _decisive(second)
    return next((key for key in dict.fromkeys([*there, *here]) if there.get(key) != here.get(key)), None)


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
