"""`prepare.py`: from an official download to a validated pack."""

import logging
import os
from pathlib import Path

from omegaconf import DictConfig

from evax.commands.following import lacking, next_training, splits_told
from evax.config import PREPARE_KEYS, ConfigError, check_config, check_node, instantiate
from evax.data import prepare as packs
from evax.data.manifest import QUARANTINE, read_manifest
from evax.data.masks import MaskPolicy, of_one_value, shares
from evax.data.sources.base import Source
from evax.data.union import UnionPack, list_near_duplicates, survey

log = logging.getLogger(__name__)


def open_source(cfg: DictConfig) -> Source | None:
    """The source with its tables in place, before anything heavy is imported; None of a union of packs.

    Raises ConfigError where `raw_dir` is not given or no folder, and what the source raises for files that it lacks.
    """
    if cfg.source is None:
        return None
    check_node(cfg.source, "source")
    raw_dir = {}
    if "raw_dir" in cfg.source:
        if cfg.raw_dir is None:
            raise ConfigError("raw_dir: name the folder of the official download, raw_dir=FOLDER")
        raw_dir = {"raw_dir": Path(cfg.raw_dir)}
        if not raw_dir["raw_dir"].is_dir():
            what = "is a file" if raw_dir["raw_dir"].exists() else "no such folder"
            raise ConfigError(f"raw_dir={cfg.raw_dir}: {what}; name the folder of the official download")
    source: Source = instantiate(cfg.source, **raw_dir)
    source.fingerprint()
    return source


def prepare(cfg: DictConfig) -> None:
    """Write the pack of `cfg.source` where `cfg.data` will look for it; exit code 1 if it is unusable.

    Data without a source of its own is a union of packs, of which it says what they hold together
    and lists films that look alike.
    """
    source = open_source(cfg)
    check_config(cfg, PREPARE_KEYS)
    if source is None:  # a union of packs
        data = cfg.data
        pack = UnionPack(data.pack, list(data.sources), list(data.test_sets), data.val_share, data.near_duplicates)
        log.info("%s", survey(pack))
        log.info("%s", list_near_duplicates(pack))
        return
    policy = instantiate(cfg.data.masks) if cfg.data.get("masks") and cfg.data.masks.classes else None
    folder = Path(cfg.data.pack)
    report = packs.prepare(
        source,
        folder,
        size=cfg.size,
        fit=cfg.fit,
        workers=cfg.workers or os.cpu_count() or 1,
        shard_size=cfg.shard_size,
        max_quarantine=cfg.max_quarantine,
    )
    log.info("%s", report)
    if not report.films:
        raise ConfigError(f"no image could be read; see {folder / QUARANTINE} for the reason of each file")
    tell_masks(report, policy)
    if not report.usable:
        raise ConfigError(
            f"max_quarantine={cfg.max_quarantine}: {report.quarantined} of {report.items} items were refused, "
            f"so the pack is unusable; see {folder / QUARANTINE}, fix the files, or raise the limit"
        )
    manifest, usual = read_manifest(folder), Path(cfg.paths.packs) / source.name
    log.info("%s", splits_told(manifest))
    if lack := lacking(manifest):
        log.warning("%s", lack)
    if command := next_training(manifest, str(folder) if folder != usual else None):
        log.info("next: %s", command)


def tell_masks(report: packs.PrepareReport, policy: MaskPolicy | None) -> None:
    """Say what values the masks of a pack have, on which share of their pixels, and what would stop a training."""
    for name, pixels in report.masks.items():
        empty = f"; {report.empty[name]} of {report.films} images show nothing" if report.empty[name] else ""
        log.info("mask %s: %s of the pixels%s", name, shares(pixels, pixels), empty)
        if len(pixels) == 1:
            log.warning("mask %s shows no shape: %s; nothing can be learned from it", name, of_one_value(pixels))
        elif policy is not None and policy.name == name and (left := policy.unclaimed(pixels)):
            log.warning(
                "mask %s: no class has %s; training stops until data.masks.classes or data.masks.background names them",
                name,
                shares(left, pixels),
            )
