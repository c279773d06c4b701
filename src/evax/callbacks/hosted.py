"""Weights & Biases as a copy of the run directory: numbers and settings, offline unless told otherwise."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from evax.checkpoints.export import read_config
from evax.data.manifest import MANIFEST

AXIS = "trainer/samples_seen"
COPIES = ("model.backbone", "model.tokenizer", "model.optim", "data.masking")  # stand elsewhere under their own names
NO_SETTING = ("paths", "logger", "callbacks", "then", "sweep", "resume")


class HostedLogger(WandbLogger):
    """Lightning's W&B logger with films seen as the axis, ended with its run, so that the next one has its own."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; the first use opens it."""
        is_new = self._experiment is None
        run = super().experiment
        if is_new:
            run.define_metric(AXIS)
            run.define_metric("*", step_metric=AXIS, step_sync=True)
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | int], step: int | None = None) -> None:
        """A row per optimizer step, under its number: what a resumed run repeats, the server has already."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run; W&B says how an offline one reaches the server."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status in ("finished", "success") else 1)
            self._experiment = None


def wandb_logger(save_dir: str, project: str = "evax", *, offline: bool = True) -> HostedLogger:
    """A W&B logger of the run in `save_dir`: settings under flat keys, grouped by multirun, tagged by what was chosen.

    W&B's defaults store console output, the command line, the git state and the machine, where patient paths can
    hide; all of that is off, and settings that hold a path are left out. System statistics are recorded where the
    pack is public. Checkpoints are never uploaded. Raises ValueError where it is to go online without a login.
    """
    from wandb import Settings  # slow to import, and only wanted here

    if not offline:
        _require_login()
    run_dir = Path(save_dir)
    config = read_config(run_dir)
    is_public = _share(config) == "public"
    settings = Settings(
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=not is_public,
    )
    in_multirun = run_dir.name.isdigit()
    return HostedLogger(
        name="/".join(run_dir.parts[-2:]) if in_multirun else run_dir.name,
        project=project,
        save_dir=save_dir,
        id=hashlib.sha256(save_dir.encode()).hexdigest()[:12],  # a resumed run goes on under its id
        resume="allow",
        offline=offline,
        log_model=False,
        settings=settings,
        group=run_dir.parent.name if in_multirun else None,
        job_type=_last_name(config.get("model")),
        tags=tags(config),
        config=flat_settings(config),
    )


def flat_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decided a run, as "masking.ratio": 0.3; without paths, and without what stands there twice."""
    return {
        key: value
        for key, value in _leaves(config)
        if not _is_below(key, (*COPIES, *NO_SETTING)) and not _may_be_path(key, value)
    }


def tags(config: Mapping[str, Any]) -> list[str]:
    """Backbone, tokenizer and data by their names."""
    backbone, tokenizer, data = (config.get(part) or {} for part in ("backbone", "tokenizer", "data"))
    names = (backbone.get("name"), tokenizer.get("model") or _last_name(tokenizer), _last_name(data))
    return [str(name) for name in names if name]


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_below(key: str, roots: tuple[str, ...]) -> bool:
    return f"{key}.".startswith(tuple(f"{root}." for root in roots))


def _may_be_path(key: str, value: Any) -> bool:
    if isinstance(value, list):
        return any(_may_be_path(key, item) for item in value)
    return isinstance(value, str) and (key.endswith(("weights", "pack")) or "/" in value or "\\" in value)


def _last_name(node: Mapping[str, Any] | None) -> str | None:
    return str(node["_target_"]).rpartition(".")[2] if node and "_target_" in node else None


def _share(config: Mapping[str, Any]) -> str:
    """How the run's pack may be shared; a union of packs, or one that does not say, is taken for credentialed."""
    manifest = Path((config.get("data") or {}).get("pack") or "") / MANIFEST
    return json.loads(manifest.read_text(encoding="utf-8"))["share"] if manifest.is_file() else "credentialed"


def _require_login() -> None:
    from wandb import Api
    from wandb.errors import UsageError

    try:
        Api()
    except UsageError as error:
        raise ValueError(
            "logger.wandb.offline=false needs a login: run `wandb login`, set WANDB_API_KEY, or stay offline"
        ) from error
