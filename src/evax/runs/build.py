"""From a settled configuration to films, task and trainer."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from omegaconf import DictConfig

from evax.callbacks import AtomicCheckpointIO, MetricsCsv, TensorBoard
from evax.callbacks.hosted import HostedLogger
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.files import step_of
from evax.config import ConfigError, innermost, instantiate
from evax.data.checks import check_batch, check_mirror
from evax.data.leakage import check_passed
from evax.data.manifest import PackError
from evax.data.module import PackDataModule
from evax.runs.early import num_devices, smaller_experiment, smallest_batch
from evax.runs.launch import launched
from evax.runs.settings import is_segmenter, is_supervised
from evax.tasks.base import Task

log = logging.getLogger(__name__)


def open_data(cfg: DictConfig) -> PackDataModule:
    """The films; where a pack is missing, one message that also names missing weights, and what runs without both."""
    data, missing = built_or_missing(cfg.data)
    if missing:
        missing += built_or_missing(cfg.tokenizer)[1] if cfg.tokenizer is not None else []
        raise ConfigError(f"{'; '.join(missing)}; `make demo` needs neither data nor weights")
    return data


def check_films(cfg: DictConfig, data: PackDataModule, *, has_begun: bool = False) -> None:
    """Refuse leaking films under protocol=clean, a batch without films, and a fine-tuning that nothing could score.

    What a run that `has_begun` cannot change any more, the meaning of its masks, is said.
    """
    if cfg.protocol == "clean":
        check_passed(data.gate, data.split)
    if data.steps_per_epoch < 1:
        check_batch(cfg.batch_size, data.films_per_epoch, smallest_batch(cfg), instead=smaller_experiment(cfg))
    if devices := num_devices(cfg):
        data.accumulation(devices)
    if not is_supervised(cfg):
        return
    every, epochs = cfg.trainer.get("check_val_every_n_epoch", 1), cfg.trainer.max_epochs
    if every > epochs:
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={every} is more than trainer.max_epochs={epochs}: no checkpoint would be "
            "chosen; lower it"
        )
    if is_segmenter(cfg):
        check_masks(cfg, data, has_begun=has_begun)
    else:
        check_labels(cfg, data)


def check_labels(cfg: DictConfig, data: PackDataModule) -> None:
    """Refuse films that could not be scored, and such as do not fit the loss."""
    if cfg.model.loss == "exclusive":
        check_exclusive(data)
    for split in dict.fromkeys((data.select_on, "test")):
        targets, is_known = data.targets_of(data.rows(split))
        has_both = ((targets == 1) & is_known).any(0) & ((targets == 0) & is_known).any(0)
        if not has_both.any():
            raise ConfigError(
                f"data.split={data.split}: none of its {len(targets)} {split} films can be scored, as no finding is "
                "present in one and absent in another; choose another scheme of the pack"
            )


def check_masks(cfg: DictConfig, data: PackDataModule, *, has_begun: bool = False) -> None:
    """Refuse masks without a pixel of any class, or with values of none, and a batch too small for the decoder."""
    if data.masks is None:
        raise ConfigError(
            "data.masks=null: segmentation learns from masks; choose lung, siim, rsna, shenzhen or masks by data=, or "
            "say data.masks._target_=evax.data.masks.MaskPolicy with mask and classes"
        )
    if data.augment is not None:
        check_mirror(data.crop.flip, data.masks.classes)
    try:
        data.masks.check_shown(data.pack)
        data.masks.check_claimed(data.pack)
    except ValueError as error:
        if not has_begun:
            raise ConfigError(str(error)) from None
        log.warning("%s", error)
    devices = cfg.trainer.get("devices")
    world_size = devices * cfg.trainer.get("num_nodes", 1) if isinstance(devices, int) and devices > 0 else 1
    is_alone = data.batch_size // world_size // data.accumulation(world_size) == 1
    if is_alone and cfg.model.decoder == "upernet" and not cfg.trainer.get("sync_batchnorm"):
        raise ConfigError(
            f"per_device_batch={cfg.per_device_batch} and batch_size={cfg.batch_size} leave one film on a device, and "
            "the BatchNorm of UPerNet's pooled map needs two; raise them, or over GPUs +trainer.sync_batchnorm=true"
        )
    for split in dict.fromkeys((data.select_on, "test")):
        rows = data.rows(split)
        if not any(data.mask_of(int(row)).any() for row in rows):
            raise ConfigError(
                f"data.masks.mask={data.masks.name}: none of the {len(rows)} {split} films of data.split={data.split} "
                f"shows {' or '.join(data.classes)}; nothing could be scored, so choose another mask or its values"
            )


def check_exclusive(data: PackDataModule) -> None:
    """Refuse films that do not show exactly one of the classes."""
    if len(data.classes) < 2:
        raise ConfigError(f"model.loss=exclusive chooses among classes, and there is {', '.join(data.classes)} alone")
    for split in dict.fromkeys((*data.fit_on, data.select_on, "test")):
        targets, is_known = data.targets_of(data.rows(split))
        others = int((~is_known.all(1) | (targets.sum(1) != 1)).sum())
        if others:
            raise ConfigError(
                f"model.loss=exclusive: {others} of {len(targets)} {split} films do not show exactly one of "
                f"{', '.join(data.classes)}; use model.loss=binary, or give data.labels.findings all the classes"
            )


def built_or_missing(node: DictConfig) -> tuple[Any, list[str]]:
    """What a node describes, or the message about the files that it lacks."""
    try:
        return instantiate(node), []
    except Exception as error:
        root = innermost(error)
        if not isinstance(root, PackError | WeightsError):
            raise
        return None, [str(root)]


def build_task(cfg: DictConfig, data: PackDataModule, *, has_checkpoint: bool = False) -> Task:
    """The task with its first weights, or without them where a checkpoint has newer ones."""
    classes = {"classes": list(data.classes)} if is_supervised(cfg) else {}
    task: Task = instantiate(without_weights(cfg.model) if has_checkpoint else cfg.model, **classes)
    return task


def without_weights(model: DictConfig) -> DictConfig:
    """The same model without the file it first started from: a checkpoint has newer weights."""
    model = model.copy()
    if "weights" in model.backbone:
        model.backbone.weights = None
    return model


def build_trainer(cfg: DictConfig, run_dir: Path, data: PackDataModule) -> Trainer:
    """Lightning's Trainer with our checkpoint files, samplers and loggers."""
    callbacks: list[Callback] = [instantiate(node) for node in (cfg.callbacks or {}).values() if node]
    copies: list[Logger] = [instantiate(node, save_dir=str(run_dir)) for node in (cfg.logger or {}).values() if node]
    trainer: Trainer = instantiate(
        cfg.trainer,
        callbacks=callbacks,
        logger=[MetricsCsv(run_dir), *copies],
        plugins=[AtomicCheckpointIO(), *environment()],
        default_root_dir=str(run_dir),
        log_every_n_steps=1,
        use_distributed_sampler=False,  # our samplers know ranks, and resume
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        num_sanity_val_steps=0,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
    )
    if cfg.trainer.get("sync_batchnorm"):
        check_shared_statistics(trainer)
    trainer.accumulate_grad_batches = data.accumulation(trainer.world_size)
    return trainer


def check_shared_statistics(trainer: Trainer) -> None:
    """Refuse BatchNorm's statistics over several processes of a CPU, which torch does not have."""
    if trainer.world_size > 1 and isinstance(trainer.accelerator, CPUAccelerator):
        raise ConfigError(
            f"trainer.sync_batchnorm=true is of GPUs only, and these are {trainer.world_size} processes on the CPU; "
            "leave it out, or use trainer.devices=1 with more films by per_device_batch="
        )


def environment() -> list[ClusterEnvironment]:
    """SLURM's ranks where srun started them; torchrun's come first, and a requeue is never Lightning's.

    A single task of SLURM starts its ranks itself, as anywhere.
    """
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)] if launched() is not None else [LightningEnvironment()]


def rewind(loggers: Sequence[Logger], checkpoint: Path | None) -> None:
    """Let the metrics table, and then each copy of it, end where the checkpoint does."""
    step = step_of(checkpoint) if checkpoint else 0
    for logger in loggers:
        if isinstance(logger, MetricsCsv | HostedLogger | TensorBoard):
            logger.rewind(step)


def quiet() -> None:
    """Leave the terminal to what a user can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # values are equal on all ranks already
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # inside Lightning
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")  # its batch sampler is
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # a choice, see data.num_workers
