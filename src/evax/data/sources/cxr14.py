"""ChestX-ray14 (Wang et al. 2017) as the NIH Clinical Center publishes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from evax.data.atomic import sha256_of
from evax.data.files import list_files, plain_ending
from evax.data.film import Box, Film, Refusal
from evax.data.findings import CXR14
from evax.data.sources.base import FileSource
from evax.data.sources.cxr14_tables import (
    BOXES,
    DOWNLOAD,
    EVA_X_LISTS,
    LISTS,
    Entry,
    check_eva_x_list,
    official_splits,
    read_boxes,
    read_entries,
    read_splits,
)
from evax.data.sources.tables import digest_of, once

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
SAMPLE_LISTS = {split: f"splits/{split}.txt" for split in ("train", "val", "test")}


@dataclass(frozen=True)
class ChestXray14Source(FileSource):
    """The 14-finding benchmark in its official layout under `raw_dir`.

    Scheme "official" has the published test list, with train and val drawn by patient from the published
    train_val list; where `raw_dir` has EVA-X's `train_official.txt`, `val_official.txt` and `test_official.txt`, it is
    those. Scheme "sample" is there when `raw_dir` has `splits/train.txt`, `val.txt` and `test.txt`.
    """

    name: ClassVar[str] = "cxr14"
    version: ClassVar[str] = "2017"
    share: ClassVar[Literal["public", "credentialed"]] = "public"
    findings: ClassVar[tuple[str, ...]] = CXR14

    raw_dir: Path

    @property
    def drawn(self) -> Mapping[str, tuple[str, ...]]:
        """Validation, where EVA-X's list of it is absent."""
        return {} if self._has_eva_x_lists() else {"official": ("train", "val")}

    @property
    def provenance(self) -> dict[str, str]:
        """The lists of scheme "official"."""
        if self._has_eva_x_lists():
            return {name: f"EVA-X's list, sha256 {sha256_of(self.raw_dir / name)}" for name in EVA_X_LISTS.values()}
        drawn = "train and val are drawn by patient"
        return {LISTS["test"]: "official test", LISTS["train_val"]: f"official, of which {drawn}"}

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films of the data table in its order, and the rows, boxes and files that do not fit."""
        self._check_layout()
        refusals: list[Refusal] = []
        entries = read_entries(self._table(), refusals)
        schemes = {"official": self._official_splits(entries, refusals)}
        if self._sample_lists():
            schemes["sample"] = read_splits(self.raw_dir, SAMPLE_LISTS, entries, refusals)
        boxes = read_boxes(self.raw_dir / BOXES, entries, refusals)
        paths = _image_paths(self.raw_dir, refusals)
        films = []
        for name, entry in entries.items():
            if name in paths:
                splits = {scheme: members[name] for scheme, members in schemes.items() if name in members}
                films.append(_film(entry, splits, boxes[name], paths[name]))
            else:
                refusals.append(Refusal(name, "missing", "a row without its file"))
        refusals += [Refusal(name, "no_row", "a file without its row") for name in paths if name not in entries]
        return films, once(refusals)

    def fingerprint(self) -> str:
        """The sha256 of the tables and lists."""
        self._check_layout()
        return digest_of(self.raw_dir, self._names())

    def _table(self) -> Path:
        present = [name for name in TABLES if (self.raw_dir / name).is_file()]
        return self.raw_dir / (present or TABLES)[0]

    def _sample_lists(self) -> Mapping[str, str]:
        return SAMPLE_LISTS if (self.raw_dir / "splits").is_dir() else {}

    def _has_eva_x_lists(self) -> bool:
        return any((self.raw_dir / name).is_file() for name in EVA_X_LISTS.values())

    def _names(self) -> list[str]:
        """All tables and lists that are read."""
        official = EVA_X_LISTS if self._has_eva_x_lists() else LISTS
        return [self._table().name, BOXES, *official.values(), *self._sample_lists().values()]

    def _official_splits(self, entries: dict[str, Entry], refusals: list[Refusal]) -> dict[str, str]:
        if self._has_eva_x_lists():
            return read_splits(self.raw_dir, EVA_X_LISTS, entries, refusals)
        return official_splits(self.raw_dir, entries, refusals)

    def _check_layout(self) -> None:
        missing = [name for name in self._names() if not (self.raw_dir / name).is_file()]
        if not _image_folders(self.raw_dir):
            missing.append("images/ (or images_001/images/, ...)")
        if missing:
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {', '.join(missing)}: download ChestX-ray14 from {DOWNLOAD} "
                "and give its folder as raw_dir=..."
            )
        if self._has_eva_x_lists():
            for name in EVA_X_LISTS.values():
                check_eva_x_list(self.raw_dir / name)


def _film(entry: Entry, splits: Mapping[str, str], boxes: tuple[Box, ...], path: Path) -> Film:
    return Film(
        image_id=entry.image_id,
        patient_id=entry.patient_id,
        labels=tuple(int(finding in entry.findings) for finding in CXR14),
        splits=splits,
        study_id=f"{entry.patient_id}-{entry.follow_up}",
        view=entry.view,
        sex=entry.sex,
        age=entry.age,
        boxes=boxes,
        path=path,
    )


def _image_folders(raw_dir: Path) -> list[Path]:
    folders = [raw_dir / "images", *sorted(raw_dir.glob("images_*/images"))]
    return [folder for folder in folders if folder.is_dir()]


def _image_paths(raw_dir: Path, refusals: list[Refusal]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for folder in _image_folders(raw_dir):
        listing = list_files(folder, lambda _: True, is_deep=False)
        refusals += [refusal._replace(item=f"{folder.parent.name}/{refusal.item}") for refusal in listing.refusals]
        for name, path in listing.files.items():
            if plain_ending(name) in paths:
                refusals.append(Refusal(f"{folder.parent.name}/{name}", "duplicate_file"))
            else:
                paths[plain_ending(name)] = path
    return paths
