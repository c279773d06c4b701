"""A run in its directory: claimed, and fitted from its newest checkpoint."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from omegaconf import DictConfig

from evax.callbacks.metrics_csv import METRICS
from evax.checkpoints.files import newest_valid, step_of
from evax.checkpoints.published import published_file
from evax.checkpoints.weight_files import CHECKPOINTS, CONFIG
from evax.commands.train.banner import banner
from evax.commands.train.then import check_then
from evax.config import ConfigError, announced, save_config
from evax.data.module import PackDataModule
from evax.runs.build import build_task, build_trainer, check_films, open_data, quiet, rewind
from evax.runs.gate import check_unseen
from evax.runs.launch import difference, held, is_first_rank
from evax.runs.settings import PLACES, is_supervised

log = logging.getLogger(__name__)


@contextmanager
def claimed(cfg: DictConfig, run_dir: Path, *, is_new: bool = True) -> Iterator[None]:
    """Hold the directory of a run for the block, with its configuration in it; a new run claims it first."""
    if not is_first_rank():
        if is_new:
            claim(cfg, run_dir)
        logging.getLogger("evax").setLevel(logging.WARNING)
        yield
        return
    was_there, was_empty = run_dir.exists(), not any(run_dir.glob("*"))
    with held(run_dir):
        if is_new:
            claim(cfg, run_dir)
        with forgotten(run_dir, whole=not was_there) if is_new and was_empty else nullcontext():
            save_config(cfg, run_dir / CONFIG)
            yield


@contextmanager
def forgotten(run_dir: Path, *, whole: bool) -> Iterator[None]:
    """Empty the run directory, or remove the `whole`, where the block fails before anything was trained."""
    try:
        yield
    except BaseException:  # Ctrl-C, too
        if not has_begun(run_dir):
            for path in run_dir.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            if whole:
                run_dir.rmdir()
        raise


def has_begun(run_dir: Path) -> bool:
    """Whether a run directory holds anything that a run has computed."""
    return (run_dir / METRICS).exists() or any((run_dir / CHECKPOINTS).glob("*.ckpt"))


def claim(cfg: DictConfig, run_dir: Path) -> None:
    """Make the run directory; one that holds this very run is gone on with, and one that holds another is refused."""
    if has_begun(run_dir) and (found := difference(cfg, run_dir, PLACES)):
        raise ConfigError(
            f"{run_dir} holds another run already ({found}); go on with that one by resume={run_dir}, "
            "or choose another name"
        )
    run_dir.mkdir(parents=True, exist_ok=True)


def check_weights(cfg: DictConfig, data: PackDataModule) -> None:
    """Refuse to test on patients whose films trained the weights of a fine-tuning, or, under clean, chose them."""
    if isinstance(cfg.weights, str) and is_supervised(cfg) and Path(cfg.weights).exists():
        check_unseen(published_file(cfg.weights, cfg.backbone.get("published")), data, cfg.protocol)


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
    log.info("%s", banner(cfg, run_dir, data, task, trainer))
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
