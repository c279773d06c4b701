"""`train.py`: from a configuration to a trained task in a run directory."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from omegaconf import DictConfig

from evax.callbacks.metrics_csv import METRICS
from evax.checkpoints.files import newest_valid, step_of
from evax.checkpoints.published import published_file
from evax.checkpoints.weight_files import CHECKPOINTS, CONFIG
from evax.config import ConfigError, announced, save_config
from evax.data.module import PackDataModule
from evax.run_build import build_task, build_trainer, built_or_missing, check_films, open_data, quiet, rewind
from evax.run_cluster import check_cluster, submit
from evax.run_gate import check_patients
from evax.run_launch import difference, held, is_first_rank
from evax.run_settings import PLACES, decided, is_supervised, pinned, resumed_config
from evax.run_then import check_then, with_finetuning

log = logging.getLogger(__name__)


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
        with suppress(OSError):
            Path(run_dir).rmdir()  # the folder that Hydra made for a new run, where it is empty
        run_dir = Path(cfg.resume)
        cfg = with_finetuning(pinned(resumed_config(cfg, run_dir, overrides)))
    check_submission(cfg)
    return begin(cfg, run_dir, is_new=is_new)


def begin(cfg: DictConfig, run_dir: Path, *, is_new: bool = True) -> dict[str, float] | None:
    """Claim the directory of a new run, save the configuration, and train: here, or on the cluster that it names."""
    with held(run_dir) if is_first_rank() else nullcontext():
        if is_new:
            claim(cfg, run_dir)
        if is_first_rank():
            save_config(cfg, run_dir / CONFIG)
        else:
            logging.getLogger("evax").setLevel(logging.WARNING)
        if cfg.get("cluster") is None:
            return fit(cfg, run_dir)
        submit(cfg, run_dir)
        return None


def claim(cfg: DictConfig, run_dir: Path) -> None:
    """Make the run directory; one that holds this very run is gone on with, and one that holds another is refused."""
    has_begun = (run_dir / METRICS).exists() or any((run_dir / CHECKPOINTS).glob("*.ckpt"))
    if has_begun and (found := difference(cfg, run_dir, PLACES)):
        raise ConfigError(
            f"{run_dir} holds another run already ({found}); go on with that one by resume={run_dir}, "
            "or choose another name"
        )
    run_dir.mkdir(parents=True, exist_ok=True)


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


def check_weights(cfg: DictConfig, data: PackDataModule) -> None:
    """Refuse to test on the patients whose films the weights of a fine-tuning come from."""
    if isinstance(cfg.weights, str) and is_supervised(cfg) and Path(cfg.weights).exists():
        check_patients(published_file(cfg.weights, cfg.backbone.get("published")), data)


def fit(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Build everything and train, from the newest valid checkpoint where there is one."""
    quiet()
    run_dir = run_dir.absolute()
    checkpoint = newest_valid(run_dir / CHECKPOINTS)
    seed_everything(cfg.seed, workers=False, verbose=False)
    data = open_data(cfg)
    check_films(cfg, data)
    check_then(cfg, data)
    check_weights(cfg, data)
    task = build_task(cfg, data, has_checkpoint=checkpoint is not None)
    trainer = build_trainer(cfg, run_dir, data)
    trainer.precision_plugin.convert_module(task)  # in place; Lightning does so only after loading, and would round
    rewind(trainer.loggers, checkpoint)
    tell_start(run_dir, checkpoint, data, trainer)
    try:
        with announced(cfg, run_dir):
            trainer.fit(task, data, ckpt_path=checkpoint)
    finally:
        for logger in trainer.loggers:
            logger.finalize("finished" if trainer.state.finished else "failed")
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the next job of a multirun starts ranks of its own
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def tell_start(run_dir: Path, checkpoint: Path | None, data: PackDataModule, trainer: Trainer) -> None:
    """Say from where the run goes on, and what its monitors cannot be taken for."""
    if "val" in data.fit_on:
        log.info("data.fit_on holds val: the val/ metrics are of films that the student trains on")
    if checkpoint is None:
        if (run_dir / METRICS).exists():
            log.info("%s has no checkpoint yet: starting from step 0", run_dir)
    elif step_of(checkpoint) >= (trainer.max_epochs or 0) * data.steps_per_epoch:
        log.info("%s is complete after %d epochs; a larger trainer.max_epochs goes on", run_dir, trainer.max_epochs)
    else:
        log.info("going on from %s", checkpoint)
