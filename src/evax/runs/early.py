"""What can be refused before torch is imported, which takes seconds: files that are not there, splits and batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf

from evax.checkpoints.errors import WeightsError
from evax.checkpoints.names import CONFIG
from evax.checkpoints.published import missing_weights, published_file, weights_file
from evax.config import ConfigError, instantiate
from evax.data.checks import accumulation, check_batch, rows_in
from evax.data.manifest import PackError
from evax.data.pack import Pack
from evax.data.union import open_packs
from evax.runs.settings import (
    changed_keys,
    check_run_dir,
    check_settings,
    is_classifier,
    is_segmenter,
    settle_published,
)

NUMBERS = ("batch_size", "per_device_batch", "image_size", "trainer.devices", "trainer.num_nodes")
OF_BACKBONE = ("backbone", "random")  # features of `evaluate.py`
SAMPLES = {"mim": "sample_pretrain", "classifier": "sample_finetune"}  # experiments for hundreds of images


def check_training(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuse a run that cannot start: for its settings, for what is missing, or for images that are too few.

    `overrides` are the words of the command line, of which a resumed run takes some only.
    """
    if cfg.resume is not None:
        check_run_dir("resume", Path(cfg.resume))
        changed_keys(overrides)
        return
    check_settings(cfg)
    check_numbers(cfg)
    if cfg.masking is not None:
        instantiate(cfg.masking)
    pack, missing = pack_or_missing(cfg.data)
    missing += missing_files(cfg)
    if missing:
        raise ConfigError(f"{'; '.join(missing)}; `make demo` needs neither data nor weights")
    if pack is not None:
        check_images(cfg, pack)


def check_numbers(cfg: DictConfig) -> None:
    """Refuse what is no whole number above 0 where only such make sense; null and "auto" are left to who reads them."""
    for key in NUMBERS:
        value = OmegaConf.select(cfg, key)
        is_open = value is None or (key == "trainer.devices" and (not isinstance(value, int) or value == -1))
        if not is_open and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ConfigError(f"{key}={value}: give a whole number above 0")


def check_source(cfg: DictConfig) -> None:
    """Refuse to explain two things at once, or nothing."""
    if (cfg.run is None) == (cfg.weights is None):
        raise ConfigError("give run=RUN_DIR, a fine-tuning, or weights=FILE with data= or images=FOLDER")


def check_features(cfg: DictConfig) -> None:
    """Refuse to read features of a backbone that is not named."""
    if cfg.features in OF_BACKBONE and cfg.run is None and cfg.get("weights") is None:
        raise ConfigError(
            f"features={cfg.features} needs run=RUN_DIR, the pre-trained run, or weights=FILE and the data to probe on"
        )


def check_evaluation(cfg: DictConfig) -> None:
    """Refuse to evaluate or explain runs, weights and packs that are not there."""
    if "images" in cfg:
        check_source(cfg)
    elif cfg.compare is None:
        check_features(cfg)
    for key in ("run", "weights"):
        if cfg.get(key) is not None:
            check_there(key, cfg[key], (cfg.get("backbone") or {}).get("published"))
    for folder in (cfg.get("against") or []) if not isinstance(cfg.get("against"), str) else [cfg.against]:
        if not Path(folder).is_dir():
            raise ConfigError(f"against={folder}: no such folder; name one of an evaluation, RUN/evaluation/NAME")
    if cfg.get("images") is not None and not Path(cfg.images).exists():
        raise ConfigError(f"images={cfg.images}: no such folder or file")
    if cfg.get("compare") is not None or (cfg.get("run") is None and cfg.get("weights") is None):
        return
    saved = OmegaConf.load(Path(cfg.run) / CONFIG) if cfg.get("run") is not None else cfg
    data = OmegaConf.select(saved, "data")
    if data is not None:
        pack, missing = pack_or_missing(data)
        if missing:
            raise ConfigError("; ".join(missing))
        if pack is not None and data.get("split") is not None:
            pack.check_scheme(data.split)


def check_there(key: str, path: Any, published: str | None = None) -> None:
    """Refuse a path of a run or of weights that does not exist."""
    if key == "run":
        check_run_dir(key, Path(path))
    elif isinstance(path, str) and not published_file(path, published).exists():
        raise missing_weights(key, path)


def pack_or_missing(data: DictConfig) -> tuple[Pack | None, list[str]]:
    """The pack of some data, None for a union of packs; or what is missing."""
    try:
        if "sources" in data:
            open_packs(Path(data.pack), [*data.sources, *(name.partition("/")[0] for name in data.test_sets)])
            return None, []
        return Pack(data.pack), []
    except PackError as error:
        return None, [str(error)]


def missing_files(cfg: DictConfig) -> list[str]:
    """What a run needs besides its pack and does not find: the weights that it starts from, and its teacher's."""
    missing = []
    try:
        if isinstance(cfg.weights, str):
            check_there("weights", cfg.weights, cfg.backbone.get("published"))
    except WeightsError as error:
        missing.append(str(error))
    try:
        if cfg.tokenizer is not None and "origin" in cfg.tokenizer:
            weights_file(cfg.tokenizer.weights, cfg.tokenizer.origin)
    except WeightsError as error:
        missing.append(str(error))
    return missing


def check_images(cfg: DictConfig, pack: Pack) -> None:
    """Refuse splits that a pack does not have, labels and masks that it lacks, and a batch that it cannot fill."""
    data = cast("DictConfig", OmegaConf.create(OmegaConf.to_container(cfg.data, resolve=True)))
    settle_published(data, cfg.protocol)
    if data.get("labels") is not None:
        instantiate(data.labels).classes(pack.findings)
    if data.get("masks") is not None and data.masks.get("mask") is not None:
        instantiate(data.masks).check(pack)
    num_images = len(rows_in(pack, data.split, list(data.fit_on)))
    rows_in(pack, data.split, [data.get("select_on") or ("test" if cfg.protocol == "official" else "val")])
    if data.fraction == 1 and data.sampling == "uniform" and data.near_duplicates == "report":
        check_batch(data.batch_size, num_images, smallest_batch(cfg), instead=smaller_experiment(cfg))
    if devices := num_devices(cfg):
        share = max(1, data.batch_size // devices)
        accumulation(data.batch_size, min(data.per_device_batch or share, share), devices)


def num_devices(cfg: DictConfig) -> int | None:
    """The devices of a run on all its nodes; None where the machine says how many."""
    devices = cfg.trainer.get("devices")
    count = len(devices) if isinstance(devices, ListConfig) else devices
    return count * cfg.trainer.get("num_nodes", 1) if isinstance(count, int) and count > 0 else None


def smallest_batch(cfg: DictConfig) -> int:
    """The images that all devices take at once, where they are known; UPerNet's BatchNorm needs two on each."""
    at_least = 2 if is_segmenter(cfg) and cfg.model.get("decoder") == "upernet" else 1
    return max(cfg.data.per_device_batch or 1, at_least) * (num_devices(cfg) or 1)


def smaller_experiment(cfg: DictConfig) -> str:
    """The experiment for a sample of the same data, as what else may be done about a batch that is too large."""
    if not str(cfg.data.get("_target_")).endswith(".ChestXray14Data"):
        return ""
    sample = SAMPLES["classifier" if is_classifier(cfg) else "mim"] if cfg.data.get("masks") is None else None
    return f" or experiment={sample}" if sample not in (None, cfg.name) else ""
