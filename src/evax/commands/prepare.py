"""`prepare.py`: from an official download to a validated pack."""

import logging
import os
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evax.commands.following import next_training, splits_told
from evax.config import PREPARE_KEYS, ConfigError, check_config, check_node, instantiate
from evax.data import prepare as packs
from evax.data.manifest import QUARANTINE, read_manifest
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
    folder = Path(cfg.data.pack)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        report = packs.prepare(
            source,
            folder,
            size=cfg.size,
            fit=cfg.fit,
            workers=cfg.workers or os.cpu_count() or 1,
            shard_size=cfg.shard_size,
            max_quarantine=cfg.max_quarantine,
            progress=progress,
        )
    log.info("%s", report)
    if not report.usable:
        raise ConfigError(
            f"max_quarantine={cfg.max_quarantine}: {report.quarantined} of {report.items} items were refused, "
            f"so the pack is unusable; see {folder / QUARANTINE}, fix the files, or raise the limit"
        )
    manifest, usual = read_manifest(folder), Path(cfg.paths.packs) / source.name
    log.info("%s", splits_told(manifest))
    if command := next_training(manifest, str(folder) if folder != usual else None):
        log.info("next: %s", command)
