"""`train.py`: from a configuration to a trained task in a run directory; the only module that sees all of it."""

import logging
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from omegaconf import DictConfig, OmegaConf, open_dict

from evax.callbacks import AtomicCheckpointIO, MetricsCsv, TensorBoard
from evax.callbacks.hosted import HostedLogger
from evax.callbacks.metrics_csv import METRICS
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.files import newest_valid, step_of
from evax.checkpoints.weight_files import CHECKPOINTS, CONFIG, find_file
from evax.config import TRAIN_KEYS, ConfigError, announced, check_config, innermost, instantiate, save_config
from evax.data.atomic import sha256_of
from evax.data.manifest import PackError
from evax.data.module import PackDataModule
from evax.run_cluster import check_cluster, for_cluster, submit, tokenizers_of
from evax.run_launch import difference, held, is_first_rank, placed
from evax.run_sweep import check_follow
from evax.tasks.base import Task
from evax.tokenizers.precision import has_fast_bf16

log = logging.getLogger(__name__)

# What may change when a run goes on: where it runs, for how long, and what follows. Pack and teacher are known by
# their digests.
RESUMABLE = (
    *("trainer", "cluster", "logger", "paths", "per_device_batch"),
    *("data.num_workers", "data.per_device_batch", "data.pack", "tokenizer.weights", "then"),
)
PROTOCOLS = {"clean": "val", "official": "test"}  # and the films that choose the best checkpoint
PATH_KEYS = ("weights", "pack", "packs", "runs")
PLACE = ("accelerator", "devices", "num_nodes", "strategy")  # what another `trainer=` may say of a resumed run
# Trainer arguments that follow from other keys, or would break what a resume relies on; and what to use instead.
RESERVED = {
    "accumulate_grad_batches": "per_device_batch",
    "log_every_n_steps": "nothing, every step is recorded",
    "max_steps": "trainer.max_epochs",
    "val_check_interval": "trainer.check_val_every_n_epoch",
    "use_distributed_sampler": "nothing, samplers know ranks",
    "num_sanity_val_steps": "debug=one_step",
    "enable_progress_bar": "~callbacks.progress",
    "enable_checkpointing": "callbacks.checkpointing",
    "default_root_dir": "hydra.run.dir",
    "callbacks": "callbacks",
    "logger": "logger",
    "plugins": "nothing",
}


def train(cfg: DictConfig, run_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float] | None:
    """Train a new run in `run_dir`, or go on with the one at `cfg.resume`.

    A new run whose directory holds the same run, begun before, goes on with it: a command may be given again.
    Returns the last metrics, or None where the run was submitted to a cluster.

    `overrides` are the user's words on the command line: a resumed run accepts those of RESUMABLE only.
    """
    from evax.run_finetune import with_finetuning

    if cfg.resume is not None:
        with suppress(OSError):
            Path(run_dir).rmdir()  # the folder that Hydra made for a new run, where it is empty
        run_dir = Path(cfg.resume)
        cfg = with_finetuning(pinned(resumed_config(cfg, run_dir, overrides)))
        check_submission(cfg)
        return begin(cfg, run_dir)
    run_dir = Path(run_dir)
    check_config(cfg, TRAIN_KEYS)
    check_protocol(cfg)
    check_trainer(cfg.trainer)
    cfg = with_finetuning(pinned(settled(placed(for_cluster(cfg)))))
    check_submission(cfg)
    claim(cfg, run_dir)
    return begin(cfg, run_dir)


def check_protocol(cfg: DictConfig) -> None:
    """Refuse what a protocol does not have: a choice on test films under clean, pre-training under official."""
    if cfg.protocol not in PROTOCOLS:
        raise ConfigError(f"protocol={cfg.protocol} is not known; choose {' or '.join(PROTOCOLS)}")
    if not is_classifier(cfg) and cfg.protocol != "clean":
        raise ConfigError(f"protocol={cfg.protocol}: pre-training has one protocol, clean")
    if cfg.protocol == "clean" and cfg.data.select_on == "test":
        raise ConfigError(
            "data.select_on=test: protocol=clean never chooses on test films; use val or protocol=official"
        )


def is_classifier(cfg: DictConfig) -> bool:
    """Whether a run's task is classification."""
    return str(cfg.model["_target_"]).endswith(".Classifier")


def begin(cfg: DictConfig, run_dir: Path) -> dict[str, float] | None:
    """Save the configuration, and train: here, or on the cluster that it names."""
    if is_first_rank():
        save_config(cfg, run_dir / CONFIG)
    else:
        logging.getLogger("evax").setLevel(logging.WARNING)
    if cfg.get("cluster") is None:
        with held(run_dir):
            return fit(cfg, run_dir)
    submit(cfg, run_dir)
    return None


def check_submission(cfg: DictConfig) -> None:
    """Say before a run is submitted what it lacks: here, and of its files."""
    if cfg.get("cluster") is None:
        return
    check_cluster(cfg)
    check_follow(cfg, open_data(cfg))
    for node in (cfg.tokenizer, cfg.model.backbone):
        if node is not None and (missing := built_or_missing(node)[1]):
            raise ConfigError(missing[0])


def claim(cfg: DictConfig, run_dir: Path) -> None:
    """Make the run directory; one that holds this very run is gone on with, and one that holds another is refused."""
    has_begun = (run_dir / METRICS).exists() or any((run_dir / CHECKPOINTS).glob("*.ckpt"))
    if has_begun and (found := difference(cfg, run_dir, RESUMABLE)):
        raise ConfigError(
            f"{run_dir} holds another run already ({found}); go on with that one by resume={run_dir}, "
            "or choose another name"
        )
    run_dir.mkdir(parents=True, exist_ok=True)


def resumed_config(cfg: DictConfig, run_dir: Path, overrides: Sequence[str]) -> DictConfig:
    """The configuration saved in `run_dir`, with the allowed overrides of the command line put over it."""
    if not (run_dir / CONFIG).exists():
        raise ConfigError(f"resume={run_dir}: there is no {CONFIG}; name a run directory")
    saved = OmegaConf.load(run_dir / CONFIG)
    assert isinstance(saved, DictConfig)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~").partition("@")[0].replace("/", ".")
        if key == "resume" or key.startswith("hydra."):
            continue
        if not f"{key}.".startswith(tuple(f"{allowed}." for allowed in RESUMABLE)):
            raise ConfigError(
                f"{key}: a resumed run keeps its saved configuration; only {', '.join(RESUMABLE)} may change"
            )
        for part in (*(f"trainer.{part}" for part in PLACE), "cluster") if key == "trainer" else (key,):
            OmegaConf.update(saved, part, OmegaConf.select(cfg, part), merge=False, force_add=True)
        if key == "per_device_batch":
            saved.data.per_device_batch = cfg.per_device_batch
    check_config(saved, TRAIN_KEYS)
    check_trainer(saved.trainer)
    return settled(placed(for_cluster(saved)))


def check_trainer(trainer: DictConfig) -> None:
    """Refuse trainer settings that would be overwritten, or that a resume could not keep."""
    for key, instead in RESERVED.items():
        if key in trainer:
            raise ConfigError(f"trainer.{key} is not yours to set; use {instead}")
    if trainer.get("limit_train_batches", 1.0) != 1.0 and trainer.max_epochs != 1:
        raise ConfigError("trainer.limit_train_batches works for one epoch only; use data.fraction to train on less")
    if str(trainer.get("precision")) in ("bf16-true", "16-true", "16-mixed"):
        raise ConfigError(f"trainer.precision={trainer.precision} is not supported; use bf16-mixed or 32-true")


def settled(cfg: DictConfig) -> DictConfig:
    """A copy in which everything that depends on the machine is decided, so that the run directory says it."""
    plain = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(plain, DictConfig)
    with open_dict(plain):
        if plain.trainer.get("precision") == "auto":
            plain.trainer.precision = best_precision(plain.trainer.get("accelerator", "auto"))
        make_paths_absolute(plain)
        if is_classifier(plain) and plain.data.select_on is None:
            plain.data.select_on = PROTOCOLS[plain.protocol]
        for tokenizer in tokenizers_of(plain):
            if tokenizer.get("precision") == "auto":
                has_bf16 = best_precision(plain.trainer.get("accelerator", "auto")) == "bf16-mixed"
                tokenizer.precision = "bf16" if has_bf16 else "fp32"
    return plain


def make_paths_absolute(node: DictConfig) -> None:
    """Let every path in the configuration, in place, mean the same from any folder: each text under PATH_KEYS."""
    for key, value in node.items():
        if isinstance(value, DictConfig):
            make_paths_absolute(value)
        elif key in PATH_KEYS and isinstance(value, str):
            node[key] = str(Path(value).absolute())


def pinned(cfg: DictConfig) -> DictConfig:
    """The settled configuration with the very file that teaches, and its sha256; about 1 s a GB.

    A run directory as teacher becomes the checkpoint that is its best now. Raises ConfigError where the run began
    with another file. One that is missing is left for the tokenizer to name.
    """
    weights = cfg.tokenizer.get("weights") if cfg.tokenizer is not None else None
    if not weights or not Path(weights).exists():
        return cfg
    file = find_file(weights)
    sha256, known = sha256_of(file), cfg.get("teacher_sha256")
    if known not in (None, sha256):
        raise ConfigError(
            f"tokenizer.weights={file}: its sha256 is {sha256[:12]}…, and the run began with {known[:12]}…; "
            "name a copy of that file by tokenizer.weights=, or start a new run"
        )
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.tokenizer.weights = cfg.model.tokenizer.weights = str(file)
        cfg.teacher_sha256 = sha256
    return cfg


def best_precision(accelerator: str) -> str:
    """bf16 autocast where the device is faster so (`has_fast_bf16`), else float32."""
    device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    return "bf16-mixed" if has_fast_bf16(device) else "32-true"


def fit(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Build everything and train, from the newest valid checkpoint where there is one."""
    quiet()
    run_dir = run_dir.absolute()
    checkpoint = newest_valid(run_dir / CHECKPOINTS)
    seed_everything(cfg.seed, workers=False, verbose=False)
    data = open_data(cfg)
    check_follow(cfg, data)
    classes = {"classes": list(data.classes)} if is_classifier(cfg) else {}
    task: Task = instantiate(without_weights(cfg.model) if checkpoint else cfg.model, **classes)
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


def open_data(cfg: DictConfig) -> PackDataModule:
    """The films; where a pack is missing, one message that also names missing weights, and what runs without both."""
    data, missing = built_or_missing(cfg.data)
    if missing:
        missing += built_or_missing(cfg.tokenizer)[1] if cfg.tokenizer is not None else []
        raise ConfigError(f"{'; '.join(missing)}; `make demo` needs neither data nor weights")
    return data


def built_or_missing(node: DictConfig) -> tuple[Any, list[str]]:
    """What a node describes, or the message about the files that it lacks."""
    try:
        return instantiate(node), []
    except Exception as error:
        root = innermost(error)
        if not isinstance(root, PackError | WeightsError):
            raise
        return None, [str(root)]


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


def without_weights(model: DictConfig) -> DictConfig:
    """The same model without the file it first started from: a checkpoint has newer weights."""
    model = model.copy()
    if "weights" in model.backbone:
        model.backbone.weights = None
    return model


def quiet() -> None:
    """Leave the terminal to what a user can act on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # values are equal on all ranks already
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # inside Lightning
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")  # its batch sampler is
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # a choice, see data.num_workers


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
    trainer.accumulate_grad_batches = data.accumulation(trainer.world_size)
    return trainer


def environment() -> list[ClusterEnvironment]:
    """SLURM's ranks where srun started them; torchrun's come first, and a requeue is never Lightning's."""
    is_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if is_slurm else []


def rewind(loggers: Sequence[Logger], checkpoint: Path | None) -> None:
    """Let the metrics table, and then each copy of it, end where the checkpoint does."""
    step = step_of(checkpoint) if checkpoint else 0
    for logger in loggers:
        if isinstance(logger, MetricsCsv | HostedLogger | TensorBoard):
            logger.rewind(step)
