"""Which backbone `evaluate.py` reads: a run's, before or after training, or that of any weight file."""

import logging
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from evax.backbones.preprocessing import normalisation_of, normalise_as
from evax.checkpoints.published import published_file
from evax.checkpoints.weight_files import CONFIG, find_file, read_content, recorded_normalisation, under_timm_names
from evax.checkpoints.weights import fill, load_weights
from evax.config import ConfigError, instantiate
from evax.data.atomic import sha256_of
from evax.data.normalisation import Channels, Normalisation
from evax.runs.build import without_weights
from evax.runs.settings import check_run_dir
from evax.runs.weights import backbone_name, check_covered, create

log = logging.getLogger(__name__)


class Subject(NamedTuple):
    """A backbone in evaluation mode, and what tells it from others: settings and digests, no paths."""

    backbone: nn.Module
    identity: dict[str, Any]


def read_run(run_dir: Path) -> DictConfig:
    """The configuration of a run; ConfigError where there is none."""
    check_run_dir("run", run_dir)
    return cast("DictConfig", OmegaConf.load(run_dir / CONFIG))


def run_identity(saved: DictConfig) -> dict[str, Any]:
    """What decides the weights of a run: its settings, and the digests of files in place of their paths."""
    run = cast("dict[str, Any]", OmegaConf.to_container(saved))
    kept = {key: run[key] for key in ("seed", "image_size", "batch_size", "model", "trainer")}
    for part in ("backbone", "tokenizer"):
        if run["model"].get(part) is not None:
            kept["model"][part] = {key: value for key, value in run["model"][part].items() if key != "weights"}
    kept |= {key: run.get(key) for key in ("weights_sha256", "teacher_sha256")}
    return kept | {"data": {key: value for key, value in run["data"].items() if key != "pack"}}


def build_backbone(saved: DictConfig, run_dir: Path | None, *, is_trained: bool = True) -> nn.Module:
    """The run's backbone, with the weights of its best checkpoint or as it was before training.

    Before training too, films are normalised as the run's checkpoints say; without `run_dir`, as the backbone does.
    """
    torch.manual_seed(saved.seed)
    backbone: nn.Module = instantiate(without_weights(saved.model).backbone)
    if run_dir is not None and is_trained:
        report = load_weights(backbone, run_dir)
        log.info("%s", report)
        known = report.normalisation
    else:
        known = recorded_normalisation(read_content(run_dir).beside) if run_dir is not None else None
    if known is not None:
        normalise_as(backbone, known)
    return backbone.eval()


def file_subject(cfg: DictConfig) -> Subject:
    """The backbone of `cfg.weights` at `cfg.image_size`, or as random numbers where `cfg.features` says so.

    Its architecture is `cfg.backbone.name`, else what the file or its `.json` tells; so is its normalisation. Of a
    rival (`backbone=resnet50_mgca`) `cfg.weights` may be the folder of its file, and its configuration tells the rest.
    """
    key = cfg.backbone.weights_key
    file = published_file(cfg.weights, cfg.backbone.get("published"))
    content = read_content(file, key=key)
    weights = under_timm_names(content)
    name = chosen_name(cfg) or backbone_name(content, weights)
    torch.manual_seed(cfg.seed)
    backbone = create(name, cfg.image_size, model_kwargs=model_kwargs_of(cfg.backbone))
    check_covered(backbone, cfg.image_size)
    known = chosen_normalisation(cfg) or chosen_normalisation(cfg.backbone) or weights.normalisation
    if known is not None:
        normalise_as(backbone, known)
    elif not name.startswith("eva_x"):
        log.warning(
            "%s does not tell how its images were normalised; those of %s are used, see docs/weights.md, "
            "or set mean=[R,G,B] and std=[R,G,B]",
            content.file.name,
            name,
        )
    if cfg.features == "backbone":
        log.info("%s", fill(backbone, weights))
    mean, std = normalisation_of(backbone)
    identity = {"backbone": name, "image_size": cfg.image_size, "mean": mean, "std": std}
    return Subject(backbone.eval(), identity | {"sha256": sha256_of(find_file(file)), "key": key})


def chosen_name(cfg: DictConfig) -> str | None:
    """The backbone that the command line names."""
    backbone = cfg.get("backbone")
    return None if backbone is None or OmegaConf.is_missing(backbone, "name") else backbone.name


def model_kwargs_of(node: DictConfig) -> dict[str, Any]:
    """What a rival's configuration passes on to timm; nothing of other backbones."""
    return cast("dict[str, Any]", OmegaConf.to_container(node.get("model_kwargs") or OmegaConf.create({})))


def chosen_normalisation(cfg: DictConfig) -> Normalisation | None:
    """`mean` and `std` of the command line or a backbone; ConfigError where one is missing or not three numbers."""
    if cfg.get("mean") is None and cfg.get("std") is None:
        return None
    return Normalisation(_channels(cfg, "mean"), _channels(cfg, "std"))


def _channels(cfg: DictConfig, key: str) -> Channels:
    match list(cfg[key] or ()):
        case [int() | float() as red, int() | float() as green, int() | float() as blue]:
            return (float(red), float(green), float(blue))
    raise ConfigError(f"{key}={cfg[key]}: give mean and std together, each as [R,G,B]")


def subject(cfg: DictConfig, saved: DictConfig | None) -> Subject:
    """What `run` or `weights` names; raises WeightsError or ConfigError naming the key."""
    if saved is None:
        return file_subject(cfg)
    run_dir = Path(cfg.run)
    return Subject(build_backbone(saved, run_dir, is_trained=cfg.features == "backbone"), run_identity(saved))
