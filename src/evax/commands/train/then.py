"""`then=`: what follows a run, composed and checked before the run's first step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict

from evax.checkpoints.export import run_config, start_of, teacher_of
from evax.commands.evaluate.probe import check_probe
from evax.config import ConfigError
from evax.data.leakage import LeakageError
from evax.data.module import PackDataModule
from evax.runs.build import build_task, check_films, open_data
from evax.runs.gate import check_apart, check_patients, check_unseen
from evax.runs.launch import launched
from evax.runs.settings import PLACE, check_run, is_supervised, settled

OWN = ("seed", "paths", *(f"trainer.{key}" for key in PLACE))  # taken over from the run


def check_then(cfg: DictConfig, data: PackDataModule) -> None:
    """Refuse, before a run has cost anything, what `then` could not do after it."""
    then = cfg.get("then")
    if then is None:
        return
    if then.get("experiment") is None:
        check_probe(then, data, prefix="then.")
        for weights in earlier_runs(cfg):
            check_patients(weights, data)
        return
    tuned = open_data(then.config)
    check_films(then.config, tuned)
    check_apart(data, tuned)
    try:
        for weights in earlier_runs(cfg):
            check_unseen(weights, tuned, then.config.protocol)
    except LeakageError as error:
        raise LeakageError(f"then.experiment={then.experiment}, whose words are then.overrides: {error}") from error
    build_task(then.config, tuned).optim.schedule(tuned.steps_per_epoch, then.config.trainer.max_epochs)


def earlier_runs(cfg: DictConfig) -> list[Path]:
    """The checkpoints that a run begins from and is taught by, of runs that tell whose films trained them."""
    found = (start_of(cfg), teacher_of(cfg))
    return [each for each in found if each is not None and run_config(each).get("data")]


def with_finetuning(cfg: DictConfig) -> DictConfig:
    """The settled configuration of a run with that of the fine-tuning, where `then` names its experiment.

    It is written down as `then.config`: what follows is decided when the run starts, and a resume keeps it.
    """
    then = cfg.get("then")
    if then is None or then.get("experiment") is None or then.get("config") is not None:
        return cfg
    if cfg.get("cluster") is not None or launched() is not None:
        raise ConfigError(
            f"then={then.experiment} follows runs that start their own ranks on this machine; leave it out, and "
            f"fine-tune by a command of its own: python train.py experiment={then.experiment} weights=RUN"
        )
    if is_supervised(cfg):
        raise ConfigError(f"then={then.experiment} follows pre-training, and this run is a fine-tuning itself")
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.then.config = finetuning_of(cfg, then.experiment, list(then.overrides or ()))
    return cfg


def finetuning_of(cfg: DictConfig, experiment: str, overrides: Sequence[str]) -> DictConfig:
    """The settled configuration of `experiment` with the seed and devices of the run `cfg`."""
    planned = compose("train", overrides=[f"experiment={experiment}", *overrides])
    for key in OWN:
        value: Any = OmegaConf.select(cfg, key)
        if value is not None:
            OmegaConf.update(planned, key, value, force_add=True)
    if planned.backbone.get("name") != cfg.backbone.get("name"):
        raise ConfigError(
            f"then.experiment={experiment} is of {planned.backbone.get('name')}, and the run of "
            f"{cfg.backbone.get('name')}; choose the one of its size, or then=finetune_cxr14, which does"
        )
    if not is_supervised(planned):
        raise ConfigError(f"then.experiment={experiment} is no fine-tuning")
    check_run(planned)
    return settled(planned)
