"""`prepare.py`: from an official download to a validated pack."""

import logging
import os
from pathlib import Path

from omegaconf import DictConfig

from evax.config import PREPARE_KEYS, ConfigError, check_config, instantiate
from evax.data import prepare as packs
from evax.data.manifest import QUARANTINE
from evax.data.union import UnionPack, list_near_duplicates, survey

log = logging.getLogger(__name__)


def prepare(cfg: DictConfig) -> None:
    """Write the pack of `cfg.source` where `cfg.data` will look for it; exit code 1 if it is unusable.

    Data without a source of its own is a union of packs, of which it says what they hold together
    and lists films that look alike.
    """
    if "raw_dir" in (cfg.source or {}) and cfg.raw_dir is None:
        raise ConfigError("raw_dir: name the folder of the official download, raw_dir=FOLDER")
    check_config(cfg, PREPARE_KEYS)
    if cfg.source is None:  # a union of packs
        data = cfg.data
        pack = UnionPack(data.pack, list(data.sources), list(data.test_sets), data.val_share, data.near_duplicates)
        log.info("%s", survey(pack))
        log.info("%s", list_near_duplicates(pack))
        return
    raw_dir = {"raw_dir": Path(cfg.raw_dir)} if cfg.raw_dir is not None else {}
    folder = Path(cfg.data.pack)
    report = packs.prepare(
        instantiate(cfg.source, **raw_dir),
        folder,
        size=cfg.size,
        fit=cfg.fit,
        workers=cfg.workers or os.cpu_count() or 1,
        shard_size=cfg.shard_size,
        max_quarantine=cfg.max_quarantine,
    )
    log.info("%s", report)
    if not report.usable:
        raise ConfigError(
            f"max_quarantine={cfg.max_quarantine}: {report.quarantined} of {report.items} items were refused, "
            f"so the pack is unusable; see {folder / QUARANTINE}, fix the files, or raise the limit"
        )
