"""From finished shards to a pack: the table, the lists of what was refused, and the manifest."""

import hashlib
import importlib.metadata
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import pyarrow as pa
import pydicom
from jaxtyping import UInt64

from evax.data.atomic import write_atomically
from evax.data.files import form_of
from evax.data.film import NO_IMAGE, OTHER_FORM, Film, Refusal
from evax.data.framing import Fit
from evax.data.index import arrow_bytes, build_index, label_column, row_keys, schemes_of, to_numpy
from evax.data.leakage import LeakageError, crossing
from evax.data.likeness import look_alikes, num_differing
from evax.data.links import families
from evax.data.listings import write_duplicates, write_near_duplicates, write_refusals, write_splits
from evax.data.manifest import INDEX, NEAR_DUPLICATES, QUARANTINE, Manifest, write_manifest
from evax.data.shards import Shard, rows_path
from evax.data.sources.base import Source
from evax.data.splits import IN_TWO_SPLITS, draw_families_together


@dataclass(frozen=True)
class Settings:
    """What decides the content of a pack, and the share of refused items that it may have."""

    source: Source
    size: int
    fit: Fit
    shard_size: int
    max_quarantine: float


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` did: counts only, no names.

    `films` are in the pack, of `items` rows and files of the source; this call read `decoded` of them. `no_images`
    more files are sound and hold no image, such as DICOM reports: they are listed, and count neither way;
    nor do files of forms that are not read, `other_forms` by ending.
    Of two patients' films, `near_duplicates` pairs look alike, some of them in two splits of a scheme.
    `reasons` counts the quarantined items by reason, `masks` the pixels of each value of each mask, and `empty`
    the masks of each that show nothing. An unusable pack must end the program with an error.
    """

    folder: Path
    films: int
    items: int
    decoded: int
    duplicates: int
    near_duplicates: int
    crossing_near_duplicates: int
    no_images: int
    other_forms: dict[str, int]
    reasons: dict[str, int]
    masks: dict[str, dict[int, int]]
    empty: dict[str, int]
    max_quarantine: float
    usable: bool

    @property
    def quarantined(self) -> int:
        """How many rows and files of the source are refused."""
        return sum(self.reasons.values())

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.reasons.items()))
        line = f"{self.films} films in {self.folder}, {self.quarantined} of {self.items} items quarantined"
        line += f" ({reasons})" if reasons else ""
        line += f"; {self.no_images} more without an image ({NO_IMAGE})" if self.no_images else ""
        forms = ", ".join(f"{count} {form}" for form, count in sorted(self.other_forms.items()))
        line += f"; left out as no PNG, JPEG or DICOM ({OTHER_FORM}): {forms}" if forms else ""
        if self.near_duplicates:
            line += (
                f"; {self.near_duplicates} pairs of two patients' films look alike, {self.crossing_near_duplicates} "
            )
            line += f"of them in two splits: see {NEAR_DUPLICATES}"
        if self.usable:
            return line
        return (
            f"{line}: above max_quarantine={self.max_quarantine:g}, so the pack is unusable; fix what "
            f"{QUARANTINE} lists or raise max_quarantine, and run the same command again"
        )


def assemble(
    folder: Path,
    settings: Settings,
    films: Sequence[Film],
    shards: Sequence[Shard],
    refusals: Sequence[Refusal],
    *,
    items: int,
    decoded: int,
) -> PrepareReport:
    """Write everything but the shards; the manifest comes last and makes the folder a pack."""
    rows = [row for shard in shards for row in shard.rows]
    kept = [films[row.position] for row in rows]
    keys = row_keys(kept, rows, settings.source.name)
    kept = draw_families_together(kept, families(keys), settings.source.drawn)
    stop_at_crossing(folder, settings, kept, [row.pixel_sha256 for row in rows], "picture", refusals)
    write_refusals(folder, refusals)
    write_splits(folder, kept, settings.source.drawn)
    duplicates = write_duplicates(folder, kept, rows)
    index = build_index(kept, rows, keys, settings.source.findings, settings.size, settings.fit)
    content = arrow_bytes(index)
    write_atomically(folder / INDEX, content)
    near, crossing_near = _list_near_duplicates(folder, kept, index, keys)
    mean, std = _moments(shards, len(rows) * settings.size**2)
    reasons = Counter(refusal.reason for refusal in refusals)
    no_images = reasons.pop(NO_IMAGE, 0)
    forms = Counter(form_of(refusal.item) for refusal in refusals if refusal.reason == OTHER_FORM)
    items -= no_images + reasons.pop(OTHER_FORM, 0)
    masks = _mask_counts(shards)
    manifest = Manifest(
        source=settings.source.name,
        version=settings.source.version,
        share=settings.source.share,
        fingerprint=settings.source.fingerprint(),
        findings=list(settings.source.findings),
        size=settings.size,
        fit=settings.fit,
        shard_size=settings.shard_size,
        mean=mean,
        std=std,
        counts={**_counts(index, kept, settings.source.findings), "duplicates": duplicates, "near_duplicates": near},
        masks=list(masks),
        mask_values={name: list(counts) for name, counts in masks.items()},
        mask_counts={name: list(counts.values()) for name, counts in masks.items()},
        shards=[{"rows": len(shard.rows), "files": shard.files} for shard in shards],
        index_sha256=hashlib.sha256(content).hexdigest(),
        items=items,
        quarantined=reasons.total(),
        no_images=no_images,
        max_quarantine=settings.max_quarantine,
        usable=bool(rows) and reasons.total() <= settings.max_quarantine * items,
        tools=tool_versions(),
        provenance=settings.source.provenance,
        leaky=list(settings.source.leaky),
    )
    _remove_leftovers(folder, manifest)
    write_manifest(folder, manifest)
    empty = {name: sum(shard.empty[name] for shard in shards if shard.rows) for name in masks}
    counts = (len(rows), items, decoded, duplicates, near, crossing_near, no_images, dict(forms))
    return PrepareReport(folder, *counts, dict(reasons), masks, empty, settings.max_quarantine, manifest.usable)


def stop_at_doubly_listed(folder: Path, settings: Settings, refusals: Sequence[Refusal]) -> None:
    """Raise LeakageError if the source found a film in two splits of a scheme."""
    leaks = sum(refusal.reason == IN_TWO_SPLITS for refusal in refusals)
    if leaks:
        write_refusals(folder, refusals)
        raise LeakageError(
            f"{settings.source.name}: the split lists put {leaks} film(s) into more than one split; "
            f"{folder / QUARANTINE} lists them: correct the split lists and run prepare again"
        )


def stop_at_crossing(
    folder: Path,
    settings: Settings,
    films: Sequence[Film],
    keys: Sequence[str],
    kind: str,
    refusals: Sequence[Refusal],
) -> None:
    """Raise LeakageError if a scheme puts a key (of each film: its patient or picture) into two splits.

    The films concerned are named in quarantine.csv only. Schemes that are published so stop nothing.
    """
    for scheme in sorted({*schemes_of(films)} - {*settings.source.leaky}):
        splits = [film.splits.get(scheme, "") for film in films]
        crossed = crossing(keys, splits)
        if not crossed:
            continue
        leaks = [
            Refusal(film.image_id, f"{kind}_in_two_splits", f"{scheme}: {key} is in {' and '.join(crossed[key])}")
            for film, key in zip(films, keys, strict=True)
            if key in crossed
        ]
        write_refusals(folder, [*refusals, *leaks])
        redraw = (
            f", or draw by patient ({settings.source.redraw})" if settings.source.redraw and kind == "patient" else ""
        )
        raise LeakageError(
            f"{settings.source.name}: split scheme {scheme} puts {len(crossed)} {kind}(s) into more than one "
            f"split; {folder / QUARANTINE} lists the {len(leaks)} films: correct the split lists or remove "
            f"those films{redraw}, and run prepare again"
        )


def tool_versions() -> dict[str, str]:
    """Versions of what the pixels depend on."""
    return {
        "evax": importlib.metadata.version("evax"),
        "numpy": np.__version__,
        "cv2": cv2.__version__,
        "pillow": PIL.__version__,
        "pydicom": pydicom.__version__,
    }


def _moments(shards: Sequence[Shard], count: int) -> tuple[float, float]:
    """Mean and standard deviation of all pixels / 255, from exact sums."""
    if not count:
        return 0.0, 0.0
    total = sum(shard.total for shard in shards)
    variance = (sum(shard.total_squares for shard in shards) * count - total**2) / count**2
    return total / count / 255, math.sqrt(variance) / 255


def _counts(index: pa.Table, films: Sequence[Film], findings: Sequence[str]) -> dict[str, Any]:
    splits = {
        scheme: dict(sorted(Counter(film.splits[scheme] for film in films if scheme in film.splits).items()))
        for scheme in schemes_of(films)
    }
    return {
        "films": len(films),
        "patients": len({film.patient_id for film in films}),
        "splits": splits,
        "positives": {finding: int((index[label_column(finding)].to_numpy() == 1).sum()) for finding in findings},
    }


def _mask_counts(shards: Sequence[Shard]) -> dict[str, dict[int, int]]:
    """The pixels of each value of each mask over all films."""
    filled = [shard for shard in shards if shard.rows]
    sets = {tuple(shard.masks) for shard in filled}
    if len(sets) > 1:
        raise ValueError(f"a source must give each film the same masks, not {sorted(sets)}")
    counts = {name: np.sum([shard.counts[name] for shard in filled], axis=0) for name in (sets.pop() if sets else ())}
    return {name: {int(value): int(each[value]) for value in np.flatnonzero(each)} for name, each in counts.items()}


def _list_near_duplicates(
    folder: Path, films: Sequence[Film], index: pa.Table, keys: Mapping[str, UInt64[np.ndarray, "N"]]
) -> tuple[int, int]:
    """List the films of two patients that look alike; returns pairs, and pairs in two splits."""
    fine = to_numpy(index["fine"])
    pairs = look_alikes(keys, to_numpy(index["coarse"]), fine)
    alike = {row: films[row] for row in pairs.ravel().tolist()}
    image_ids = {row: film.image_id for row, film in alike.items()}
    splits = {scheme: {row: film.splits.get(scheme, "") for row, film in alike.items()} for scheme in schemes_of(films)}
    return len(pairs), write_near_duplicates(folder, pairs, num_differing(fine, pairs), image_ids, splits)


def _remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Remove files of earlier settings and of killed runs."""
    wanted = {*manifest.files, *(rows_path(folder, number).name for number in range(len(manifest.shards)))}
    for pattern in ("pixels-*.npy", "masks-*.npy", "rows-*.json", ".*.tmp"):
        for path in folder.glob(pattern):
            if path.name not in wanted:
                path.unlink()
