"""Several packs read as one, without the patients of declared test sets."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int, Int8, Int32, UInt8

from evax.data.findings import SYNONYMS
from evax.data.index import label_column, split_column
from evax.data.leakage import Cohort, cohort
from evax.data.likeness import num_differing
from evax.data.links import families, qualified, sorted_unique
from evax.data.listings import write_near_duplicates
from evax.data.manifest import NEAR_DUPLICATES, Manifest, PackError
from evax.data.near import NearDuplicates, check_near_duplicates, families_of_look_alikes, keys_of, look_alikes_of
from evax.data.pack import Pack

SCHEME = "official"
SPLITS = ("train", "val", "test")


class UnionPack(Pack):
    """The films of the packs `sources` in `folder`: rows of the first, then of the second, and so on.

    Films and patients are qualified by their source ("cxr14:150"); `findings` are those that all packs label. The one
    scheme, "official", goes by families: patients linked by equal films, in whatever packs and over any number of
    links. A family of a patient of a test set (`test_sets`, as "PACK/SCHEME/SPLIT") is in "test"; of the others a
    share of `val_share`, drawn by name, is in "val", and the rest in "train". With `near_duplicates="exclude"` films
    that look alike link their patients too.
    """

    def __init__(
        self,
        folder: str | Path,
        sources: Sequence[str],
        test_sets: Sequence[str] = (),
        val_share: float = 0.01,
        near_duplicates: NearDuplicates = "report",
    ) -> None:
        self.folder = Path(folder)
        self._settings = (tuple(sources), tuple(test_sets), val_share, near_duplicates)
        _check_settings(sources, test_sets, val_share)
        check_near_duplicates(near_duplicates)
        packs = open_packs(self.folder, [*sources, *(name.partition("/")[0] for name in test_sets)])
        self.members = [packs[source] for source in sources]
        self.tests = [_test_cohort(packs, name) for name in test_sets]
        _check_sizes(self.members)
        self._starts = np.cumsum([0, *map(len, self.members)])
        family = (
            families(keys_of(packs.values()))
            if near_duplicates == "report"
            else families_of_look_alikes(*packs.values())
        )
        self._splits = _splits_of(family, packs, test_sets, val_share)[: self._starts[-1]]
        self.manifest = self._describe(packs)

    def __reduce__(self) -> tuple[Any, ...]:
        return UnionPack, (self.folder, *self._settings)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows_of(self, source: str) -> slice:
        """The rows that come from the pack `source`."""
        number = self._settings[0].index(source)
        return slice(int(self._starts[number]), int(self._starts[number + 1]))

    @property
    def schemes(self) -> tuple[str, ...]:
        """The one scheme of a union."""
        return (SCHEME,)

    @cached_property
    def origins(self) -> np.ndarray:
        """The collections (N,) that the films come from; "" is unknown."""
        return np.concatenate([member.origins for member in self.members])

    @cached_property
    def patients(self) -> Int32[np.ndarray, "N"]:
        """The patients as numbers, in no particular order."""
        return np.unique(self.keys("patient"), return_inverse=True)[1].astype(np.int32)

    def pretraining_moments(self) -> tuple[float, float]:
        """Mean and standard deviation, in 0..1, of the films outside "test", whose pixels are read and taken off."""
        count = len(self)
        total, squares = self.mean * count, (self.std**2 + self.mean**2) * count
        for row in np.flatnonzero(self.is_in(SCHEME, ["test"])).tolist():
            values = self.image(row) / 255
            count, total, squares = count - 1, total - values.mean(), squares - (values**2).mean()
        if not count:
            return 0.0, 0.0
        return total / count, math.sqrt(max(0.0, squares / count - (total / count) ** 2))

    def _map(self, kind: str, row: int) -> UInt8[np.ndarray, "H W"]:
        number, offset = self._place(row)
        return self.members[number]._map(kind, offset)

    def _column(self, name: str) -> pa.ChunkedArray:
        if name == split_column(SCHEME):
            return pa.chunked_array([pa.DictionaryArray.from_arrays(self._splits, pa.array(SPLITS))])
        return pa.chunked_array([part for member in self.members for part in _parts(member, name)])

    def _describe(self, packs: Mapping[str, Pack]) -> Manifest:
        """What the packs hold together; mean and std are of all films."""
        parts = [member.manifest for member in self.members]
        weights = np.array([len(member) for member in self.members]) / max(1, len(self))
        mean = float(weights @ [part.mean for part in parts])
        second = float(weights @ [part.std**2 + part.mean**2 for part in parts])
        content = [[part.source, part.digest] for part in parts]
        tests = [[name, packs[name.partition("/")[0]].digest] for name in self._settings[1]]
        digest = hashlib.sha256(json.dumps([content, tests, self._settings[2:]]).encode()).hexdigest()
        return Manifest(
            source="+".join(part.source for part in parts),
            version="+".join(part.version for part in parts),
            share="credentialed" if any(part.share == "credentialed" for part in parts) else "public",
            fingerprint=digest,
            findings=list(shared_findings(self.members)),
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
        by_split = {split: self._splits == number for number, split in enumerate(SPLITS)}
        return {
            "films": len(self),
            "patients": len(sorted_unique(self.keys("patient"))),
            "splits": {SCHEME: {split: int(is_in.sum()) for split, is_in in by_split.items()}},
            "sources": {
                source: {split: int(is_in[self.rows_of(source)].sum()) for split, is_in in by_split.items()}
                for source in self._settings[0]
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


def list_near_duplicates(pack: UnionPack) -> str:
    """Write near_duplicates.csv beside the packs: pairs of different patients; says how many."""
    pairs = look_alikes_of(pack)
    rows = np.unique(pairs)
    image_ids = dict(zip(rows.tolist(), pack.texts("image_id", rows), strict=True))
    splits = dict(zip(rows.tolist(), pack.texts(split_column(SCHEME), rows), strict=True))
    bits = num_differing(pack.column("fine"), pairs)
    crossing = write_near_duplicates(pack.folder, pairs, bits, image_ids, {SCHEME: splits})
    return f"{len(pairs)} pairs of two patients' films look alike, {crossing} of them in two splits: {NEAR_DUPLICATES}"


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


def open_packs(folder: Path, names: Sequence[str]) -> dict[str, Pack]:
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
    if not len(found.patients):
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


def _splits_of(
    family: Int[np.ndarray, "N"], packs: Mapping[str, Pack], test_sets: Sequence[str], val_share: float
) -> Int8[np.ndarray, "N"]:
    """The split, by its place in SPLITS, of each row of all `packs`, one after another."""
    is_tested = np.zeros(len(family), bool)
    is_tested[family[_in_test_sets(packs, test_sets)]] = True
    name = np.full(len(family), np.iinfo(np.uint64).max)
    np.minimum.at(name, family, keys_of(packs.values())["patient"])
    # a key is a sha256, so it is drawn already: it is below a share of all keys in that share of the families
    is_val = name < np.uint64(val_share * 2.0**64)
    return np.where(is_tested, SPLITS.index("test"), is_val).astype(np.int8)[family]


def _in_test_sets(packs: Mapping[str, Pack], test_sets: Sequence[str]) -> Bool[np.ndarray, "N"]:
    """Which rows of all packs the test sets hold."""
    starts = dict(zip(packs, np.cumsum([0, *map(len, packs.values())]).tolist(), strict=False))
    is_in = np.zeros(sum(map(len, packs.values())), bool)
    for name in test_sets:
        pack, scheme, split = name.split("/")
        is_in[starts[pack] : starts[pack] + len(packs[pack])] |= packs[pack].is_in(scheme, [split])
    return is_in


def _parts(pack: Pack, name: str) -> list[pa.Array]:
    """A column of the union, as far as it comes from one pack."""
    source = f"{pack.manifest.source}:"
    names = {label_column(SYNONYMS.get(finding, finding)): label_column(finding) for finding in pack.findings}
    parts = pack._column(names.get(name, name)).chunks
    if name == "image_id":
        return [pc.binary_join_element_wise(source, part, "") for part in parts]
    if name == "patient_id":
        return [_qualified(part, pack.manifest.source) for part in parts]
    return parts


def _qualified(patients: pa.DictionaryArray, source: str) -> pa.DictionaryArray:
    names = [qualified(name, source) for name in patients.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(patients.indices, pa.array(names, pa.string()))
