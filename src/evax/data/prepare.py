"""Make a pack from a source, once: decode, check, and write what training reads."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from evax.data.assembly import (
    PrepareReport,
    Settings,
    assemble,
    stop_at_crossing,
    stop_at_doubly_listed,
    tool_versions,
)
from evax.data.decoding import Decoded, Decoder, DecodingPool
from evax.data.files import state_of
from evax.data.film import Film, Refusal
from evax.data.framing import Fit
from evax.data.manifest import FORMAT, MANIFEST
from evax.data.shards import Shard, read_finished, write_shard
from evax.data.sources.base import Source
from evax.progress import Step

logger = logging.getLogger(__name__)

LABELS = frozenset((1, 0, -1, -2))


def prepare(
    source: Source,
    folder: Path,
    *,
    size: int,
    fit: Fit = "stretch",
    workers: int,
    shard_size: int = 8192,
    max_quarantine: float = 0.01,
) -> PrepareReport:
    """Write the pack of `source` into `folder`, as squares of `size` pixels.

    The result depends neither on `workers` (0: no child processes) nor on interruptions: finished shards are
    kept while the source, its files and the settings stay the same. Raises LeakageError when a scheme puts a
    patient into two splits, before anything is decoded, or equal pixels, before the pack can be opened.
    """
    settings = Settings(source, size, fit, shard_size, max_quarantine)
    _check_settings(settings)
    films, refusals = _admit(source)
    items = len(films) + len(refusals)
    folder.mkdir(parents=True, exist_ok=True)
    stop_at_doubly_listed(folder, settings, refusals)
    stop_at_crossing(folder, settings, films, [film.patient_id for film in films], "patient", refusals)
    (folder / MANIFEST).unlink(missing_ok=True)
    shards, decoded = _write_shards(folder, settings, films, workers)
    refusals += [refusal for shard in shards for refusal in shard.refusals]
    return assemble(folder, settings, films, shards, refusals, items=items, decoded=decoded)


def _check_settings(settings: Settings) -> None:
    if settings.fit not in get_args(Fit):
        raise ValueError(f"fit={settings.fit} is unknown; use {', '.join(get_args(Fit))}")
    if settings.size < 1 or settings.shard_size < 1:
        raise ValueError(f"size={settings.size} and shard_size={settings.shard_size} must be positive")
    if not 0 <= settings.max_quarantine <= 1:
        raise ValueError(f"max_quarantine={settings.max_quarantine:g} must be a share from 0 to 1")


def _admit(source: Source) -> tuple[list[Film], list[Refusal]]:
    """The films of a source with unique names and sound labels, and all refusals so far."""
    listed, refusals = source.films()
    films: list[Film] = []
    seen: set[str] = set()
    refused = list(refusals)
    for film in listed:
        if film.image_id in seen:
            refused.append(Refusal(film.image_id, "duplicate_row"))
        elif len(film.labels) != len(source.findings) or not LABELS.issuperset(film.labels):
            refused.append(Refusal(film.image_id, "bad_label", str(film.labels)))
        else:
            seen.add(film.image_id)
            films.append(film)
    return films, refused


def _write_shards(folder: Path, settings: Settings, films: Sequence[Film], workers: int) -> tuple[list[Shard], int]:
    """All shards, and how many films had to be decoded for them."""
    starts = range(0, len(films), settings.shard_size)
    ranges = [films[start : start + settings.shard_size] for start in starts]
    fingerprint = settings.source.fingerprint()
    keys = [_shard_key(settings, fingerprint, part) for part in ranges]
    finished = [read_finished(folder, number, key) for number, key in enumerate(keys)]
    to_do = sum(len(part) for part, shard in zip(ranges, finished, strict=True) if shard is None)
    logger.info("%d of %d films to decode", to_do, len(films))
    if not to_do:
        return [shard for shard in finished if shard is not None], 0
    _check_space(folder, to_do * settings.size**2)
    decoder = Decoder(settings.source, settings.size, settings.fit)
    shards = []
    with Step("decoding images", to_do) as step, DecodingPool(decoder, workers) as pool:
        for number, (part, key, start) in enumerate(zip(ranges, keys, starts, strict=True)):
            decoded = _counted(pool.decode(part), step)
            shard = finished[number] or write_shard(folder, number, key, start, decoded, settings.size)
            shards.append(shard)
    return shards, to_do


def _shard_key(settings: Settings, fingerprint: str, films: Iterable[Film]) -> str:
    """Changes when anything changes that the shard's bytes depend on; a repaired file re-does one shard."""
    parts = [
        (FORMAT, settings.source.name, settings.source.version, fingerprint),
        (settings.size, settings.fit, settings.shard_size, tool_versions()),
        [(film.image_id, state_of(film.path)) for film in films],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"the pack needs {needed / 1e9:.1f} GB more in {folder}, which has {free / 1e9:.1f} GB free: "
            "choose another folder or a smaller size"
        )


def _counted(films: Iterable[Decoded | Refusal], step: Step) -> Iterator[Decoded | Refusal]:
    for film in films:
        step.advance()
        yield film
