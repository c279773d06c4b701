"""`then=finetune_…`: the fine-tuning that follows pre-training: composed at the start, done in RUN/finetune."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf, open_dict

from evax.config import TRAIN_KEYS, ConfigError, check_config, instantiate
from evax.run import PLACE, begin, check_protocol, check_trainer, claim, is_classifier, open_data, settled
from evax.run_classify import score
from evax.run_hosted import publish_scores
from evax.run_launch import launched

FOLDER = "finetune"  # in the run directory
OWN = ("seed", "paths", "backbone.name", *(f"trainer.{key}" for key in PLACE))  # taken over from the run


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
    if is_classifier(cfg):
        raise ConfigError(f"then={then.experiment} follows pre-training, and this run is a fine-tuning itself")
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.then.config = finetuning_of(cfg, then.experiment, list(then.overrides or ()))
    return cfg


def finetuning_of(cfg: DictConfig, experiment: str, overrides: Sequence[str]) -> DictConfig:
    """The settled configuration of `experiment` with the backbone, seed and devices of the run `cfg`."""
    planned = compose("train", overrides=[f"experiment={experiment}", *overrides])
    for key in OWN:
        value: Any = OmegaConf.select(cfg, key)
        if value is not None:
            OmegaConf.update(planned, key, value, force_add=True)
    if not is_classifier(planned):
        raise ConfigError(f"then.experiment={experiment} is no fine-tuning")
    check_config(planned, TRAIN_KEYS)
    check_protocol(planned)
    check_trainer(planned.trainer)
    return settled(planned)


def check_finetuning(cfg: DictConfig) -> None:
    """Refuse, before pre-training has cost anything, what the fine-tuning lacks: films, classes, an end of the rate."""
    data = open_data(cfg)
    task = instantiate(cfg.model, classes=list(data.classes))
    task.optim.schedule(data.steps_per_epoch, cfg.trainer.max_epochs)


def fine_tune(then: DictConfig, run_dir: Path) -> dict[str, float]:
    """Fine-tune the best checkpoint of `run_dir` in its folder `finetune`, and score the test films."""
    cfg = OmegaConf.create(OmegaConf.to_container(then.config))
    assert isinstance(cfg, DictConfig)
    for node in (cfg, cfg.backbone, cfg.model.backbone):
        node.weights = str(run_dir)
    folder = run_dir / FOLDER
    claim(cfg, folder)
    begin(cfg, folder)
    scores = score(cfg, folder)
    publish_scores(run_dir, folder)
    return scores
