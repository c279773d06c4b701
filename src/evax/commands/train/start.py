"""`train.py`: from a configuration to a run directory, trained here or handed to the cluster that it names."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from evax.commands.train.cluster import check_cluster, submit
from evax.commands.train.fit import check_weights, claimed, fit
from evax.commands.train.then import check_then, with_finetuning
from evax.config import ConfigError
from evax.runs.build import build_task, built_or_missing, check_films, open_data
from evax.runs.settings import decided, pinned, resumed_config


def train(cfg: DictConfig, run_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float] | None:
    """Train a new run in `run_dir`, or go on with the one at `cfg.resume`.

    A new run whose directory holds the same run, begun before, goes on with it: a command may be given again.
    Returns the last metrics, or None where the run was submitted to a cluster.

    `overrides` are the user's words on the command line: a resumed run accepts those of RESUMABLE only.
    """
    is_new = cfg.resume is None
    if is_new:
        run_dir = Path(run_dir)
        cfg = with_finetuning(decided(cfg))
    else:
        run_dir = Path(cfg.resume)
        cfg = with_finetuning(pinned(resumed_config(cfg, run_dir, overrides)))
    check_submission(cfg)
    with claimed(cfg, run_dir, is_new=is_new):
        if cfg.get("cluster") is None:
            return fit(cfg, run_dir)
        submit(cfg, run_dir)
        return None


def check_submission(cfg: DictConfig) -> None:
    """Say before a run is submitted what it lacks: here, and of its files."""
    if cfg.get("cluster") is None:
        return
    check_cluster(cfg)
    data = open_data(cfg)
    check_films(cfg, data)
    check_then(cfg, data)
    check_weights(cfg, data)
    for node in (cfg.tokenizer, cfg.model.backbone):
        if node is not None and (missing := built_or_missing(node)[1]):
            raise ConfigError(missing[0])
    build_task(cfg, data).optim.schedule(data.steps_per_epoch, cfg.trainer.max_epochs)
