"""Several packs read as one, without the patients of declared test sets."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, UInt8

from evax.data.findings import SYNONYMS
from evax.data.index import label_column, split_column
from evax.data.leakage import Cohort, cohort, overlapping, qualified
from evax.data.manifest import Manifest, PackError
from evax.data.pack import Pack
from evax.data.splits import patient_draw

SCHEME = "official"
SALT = "evax/union/val"
COPIED = ("study_id", "view", "sex", "age", "boxes", "file_sha256", "pixel_sha256", "width", "height")


class UnionPack(Pack):
    """The films of the packs `sources` in `folder`: rows of the first, then of the second, and so on.

    Films and patients are qualified by their source ("cxr14:150"); `findings` are those that all packs label. The one
    scheme, "official", puts each patient of a test set (`test_sets`, as "PACK/SCHEME/SPLIT"), and each who shares a
    film with it, into "test"; of the others a share of `val_share`, drawn by name, into "val", and the rest into
    "train".
    """

    def __init__(
        self, folder: str | Path, sources: Sequence[str], test_sets: Sequence[str] = (), val_share: float = 0.01
    ) -> None:
        self.folder = Path(folder)
        self._settings = (tuple(sources), tuple(test_sets), val_share)
        _check_settings(*self._settings)
        packs = _open_packs(self.folder, [*sources, *(name.partition("/")[0] for name in test_sets)])
        self.members = [packs[source] for source in sources]
        self.tests = [_test_cohort(packs, name) for name in test_sets]
        _check_sizes(self.members)
        self._starts = np.cumsum([0, *map(len, self.members)])
        is_test = [overlapping(member, self.tests) for member in self.members]
        findings = shared_findings(self.members)
        columns = [_columns(*each, findings, val_share) for each in zip(self.members, is_test, strict=True)]
        self._table = pa.concat_tables(columns)
        self.manifest = self._describe(list(findings))

    def __reduce__(self) -> tuple[Any, ...]:
        return UnionPack, (self.folder, *self._settings)

    def sources(self) -> np.ndarray:
        """The pack (N,) that each film comes from, as `sources` names it."""
        return np.repeat(self._settings[0], [len(member) for member in self.members])

    def pretraining_moments(self) -> tuple[float, float]:
        """Mean and standard deviation, in 0..1, of the films outside "test", whose pixels are read and taken off."""
        count = len(self)
        total, squares = self.mean * count, (self.std**2 + self.mean**2) * count
        for row in np.flatnonzero(self.split(SCHEME) == "test").tolist():
            values = self.image(row) / 255
            count, total, squares = count - 1, total - values.mean(), squares - (values**2).mean()
        if not count:
            return 0.0, 0.0
        return total / count, math.sqrt(max(0.0, squares / count - (total / count) ** 2))

    def _read(self, kind: str, row: int) -> UInt8[np.ndarray, "H W"]:
        number, offset = self._place(row)
        return self.members[number]._read(kind, offset)

    def _describe(self, findings: list[str]) -> Manifest:
        """What the packs hold together; mean and std are of all films."""
        parts = [member.manifest for member in self.members]
        weights = np.array([len(member) for member in self.members]) / max(1, len(self))
        mean = float(weights @ [part.mean for part in parts])
        second = float(weights @ [part.std**2 + part.mean**2 for part in parts])
        content = [[part.source, part.digest] for part in parts]
        tests = [[test.name, sorted(test.patients), sorted(test.pixels)] for test in self.tests]
        digest = hashlib.sha256(json.dumps([content, tests, self._settings[-1]]).encode()).hexdigest()
        return Manifest(
            source="+".join(part.source for part in parts),
            version="+".join(part.version for part in parts),
            share="credentialed" if any(part.share == "credentialed" for part in parts) else "public",
            fingerprint=digest,
            findings=findings,
            size=parts[0].size,
            fit="+".join(sorted({part.fit for part in parts})),
            shard_size=0,
            mean=mean,
            std=math.sqrt(second - mean**2),
            counts=self._counts(),
            masks=sorted(set.intersection(*(set(part.masks) for part in parts))),
            shards=[],
            index_sha256=digest,
            items=sum(part.items for part in parts),
            quarantined=sum(part.quarantined for part in parts),
            max_quarantine=max(part.max_quarantine for part in parts),
            usable=True,
            tools={},
        )

    def _counts(self) -> dict[str, Any]:
        """Films and patients, and films by split and source."""
        sources, splits = self.sources(), self.split(SCHEME)
        by_split = {split: splits == split for split in ("train", "val", "test")}
        return {
            "films": len(self),
            "patients": len(set(self.texts("patient_id"))),
            "splits": {SCHEME: {split: int(is_in.sum()) for split, is_in in by_split.items()}},
            "sources": {
                name: {split: int((is_in & (sources == name)).sum()) for split, is_in in by_split.items()}
                for name in dict.fromkeys(sources.tolist())
            },
        }


def survey(pack: UnionPack) -> str:
    """One line on what may pre-train: counts, what the test sets kept out, mean and standard deviation."""
    counts = pack.manifest.counts
    train, val, test = counts["splits"][SCHEME].values()
    sources = ", ".join(f"{name} {each['train'] + each['val']:,}" for name, each in counts["sources"].items())
    mean, std = pack.pretraining_moments()
    return (
        f"{train + val:,} films for pre-training ({sources}), of which {val:,} are val; {test:,} are of patients of "
        f"{', '.join(each.name for each in pack.tests) or 'no test set'}; mean {mean:.4f}, standard deviation {std:.4f}"
    )


def shared_findings(packs: Sequence[Pack]) -> tuple[str, ...]:
    """The findings that every pack labels, under one name each, in the order of the first."""
    names = [{SYNONYMS.get(finding, finding) for finding in pack.findings} for pack in packs]
    ordered = dict.fromkeys(SYNONYMS.get(finding, finding) for finding in packs[0].findings)
    return tuple(name for name in ordered if all(name in each for each in names))


def _check_settings(sources: Sequence[str], test_sets: Sequence[str], val_share: float) -> None:
    if not sources or len(set(sources)) < len(sources):
        raise ValueError(f"data.sources={list(sources)} must name packs, each once")
    if not 0 < val_share < 1:
        raise ValueError(f"data.val_share={val_share} must be between 0 and 1")
    odd = [name for name in test_sets if name.count("/") != 2]
    if odd:
        raise ValueError(f"data.test_sets: {odd[0]} is not PACK/SCHEME/SPLIT, such as cxr14/official/test")


def _open_packs(folder: Path, names: Sequence[str]) -> dict[str, Pack]:
    """The packs by name; PackError tells of all that are missing, with the commands that make them."""
    packs: dict[str, Pack] = {}
    errors = []
    for name in dict.fromkeys(names):
        try:
            packs[name] = Pack(folder / name)
        except PackError as error:
            errors.append(str(error))
    if errors:
        raise PackError("; ".join(errors) + " (data.sources chooses packs, data.test_sets the test sets to keep out)")
    return packs


def _test_cohort(packs: dict[str, Pack], name: str) -> Cohort:
    pack, scheme, split = name.split("/")
    found = cohort(packs[pack], scheme, [split])
    if not found.patients:
        raise ValueError(f"data.test_sets: {name} has no films; the pack has the schemes {packs[pack].schemes}")
    return found


def _check_sizes(members: Sequence[Pack]) -> None:
    first = members[0]
    for member in members:
        if member.image_size != first.image_size:
            raise PackError(
                f"the pack at {member.folder} has films of {member.image_size} pixels, {first.folder} of "
                f"{first.image_size}: run `python prepare.py data={member.folder.name} size={first.image_size}`"
            )


def _columns(pack: Pack, is_test: Bool[np.ndarray, "N"], findings: Sequence[str], val_share: float) -> pa.Table:
    """The part of the union's table that comes from one pack."""
    source, table = pack.manifest.source, pack._table
    patients = [qualified(patient, source) for patient in pack.texts("patient_id")]
    is_val = {patient: patient_draw(SALT, patient) < val_share for patient in set(patients)}
    splits = [
        "test" if test else "val" if is_val[patient] else "train"
        for test, patient in zip(is_test.tolist(), patients, strict=True)
    ]
    labels = {SYNONYMS.get(finding, finding): table[label_column(finding)] for finding in pack.findings}
    return pa.table(
        {
            "image_id": [f"{source}:{name}" for name in table["image_id"].to_pylist()],
            "patient_id": patients,
            **{name: table[name] for name in COPIED},
            split_column(SCHEME): splits,
            **{label_column(finding): labels[finding] for finding in findings},
        }
    )
