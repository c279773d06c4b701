"""COVIDx (Wang et al. 2020): COVID-19 films of many collections, in the two forms that EVA-X fine-tunes on."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from evax.data.atomic import sha256_of
from evax.data.files import Listing, list_files, plain_ending
from evax.data.film import Film, Refusal
from evax.data.findings import COVIDX3, COVIDX4
from evax.data.sources.base import FileSource
from evax.data.sources.covidx_lists import Entry, named_files, read_list
from evax.data.sources.tables import digest_of, once, with_files
from evax.data.splits import patient_draw

logger = logging.getLogger(__name__)

LISTS_AT = "https://github.com/lindawangg/COVID-Net/tree/master/labels"
DOWNLOAD = "https://www.kaggle.com/datasets/andyczhao/covidx-cxr2"
IMAGES = "images"  # for the films of any split, where the folder of the split does not have them
VALIDATION_SHARE = 0.1  # of the patients of the training list, where validation is drawn


@dataclass(frozen=True)
class CovidxSource(FileSource):
    """Films that show exactly one class each, with the collection that they come from as `origin`.

    `raw_dir` holds lists of lines "patient file class origin", and the films in train/, test/ and val/, or in images/.
    `more_images` are further folders with films that the lists name. Scheme "official" is the lists; where validation
    has none, it is drawn from the training list by patient. Where it has one, scheme "published" has it as test, as
    EVA-X's code reports, with train and val drawn from the training list. Patients of NIH are those of ChestX-ray14.
    """

    share: ClassVar[Literal["public", "credentialed"]] = "public"
    lists: ClassVar[Mapping[str, tuple[str, ...]]]  # the names that each split's may have, the best first
    advice: ClassVar[str]  # where they come from

    raw_dir: Path
    more_images: Sequence[str] = ()

    @property
    def drawn(self) -> Mapping[str, tuple[str, ...]]:
        """Validation of the scheme that has no list of it."""
        return {"published" if "val" in self._lists() else "official": ("train", "val")}

    @property
    def provenance(self) -> dict[str, str]:
        """The lists that were read, and their sha256."""
        return {path.name: f"{split}, sha256 {sha256_of(path)}" for split, path in self._lists().items()}

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films of the lists in their order, and the lines and files that do not fit."""
        lists = self._checked_lists()
        refusals: list[Refusal] = []
        rows: dict[str, Film] = {}
        paths: dict[str, Path] = {}
        for split, path in lists.items():
            entries = read_list(path, split, self.findings, refusals)
            self._check_classes(path, entries, refusals)
            for name, entry in entries.items():
                rows[f"{split}/{name}"] = self._film(entry, split, is_val_listed="val" in lists)
            paths |= self._image_paths(split, entries, refusals)
        films, alone = with_files(rows, paths, self._left_out(paths.keys() - rows.keys(), lists))
        return films, once([*refusals, *alone])

    def fingerprint(self) -> str:
        """The sha256 of the lists, and the further folders."""
        names = [path.name for path in self._checked_lists().values()]
        return digest_of(self.raw_dir, names, " ".join(self.more_images))

    def _lists(self) -> dict[str, Path]:
        """The list of each split that has one."""
        places = {split: [self.raw_dir / name for name in names] for split, names in self.lists.items()}
        found = {split: [path for path in paths if path.is_file()] for split, paths in places.items()}
        return {split: paths[0] for split, paths in found.items() if paths}

    def _checked_lists(self) -> dict[str, Path]:
        found = self._lists()
        missing = [names[0] for split, names in self.lists.items() if split != "val" and split not in found]
        if not (self.raw_dir / IMAGES).is_dir():
            missing += [f"{split}/" for split in found or self.lists if not (self.raw_dir / split).is_dir()]
        if missing:
            raise FileNotFoundError(f"raw_dir={self.raw_dir} lacks {', '.join(missing)}: {self.advice}")
        for folder in self.more_images:
            if not Path(folder).is_dir():
                raise FileNotFoundError(f"source.more_images: there is no folder {folder}")
        return found

    def _check_classes(self, path: Path, entries: Mapping[str, Entry], refusals: list[Refusal]) -> None:
        """Refuse the list of another task at once."""
        others = sorted({refusal.detail for refusal in refusals if refusal.reason == "bad_label"})
        if others and not entries:
            raise ValueError(
                f"{path} has the classes {', '.join(others[:3])}, but data={self.name} wants "
                f"{', '.join(self.findings)}: {self.advice}"
            )

    def _film(self, entry: Entry, split: str, *, is_val_listed: bool) -> Film:
        """The film of a line, without its path."""
        drawn = split
        if split == "train":
            drawn = "val" if patient_draw(f"evax/{self.name}", entry.patient_id) < VALIDATION_SHARE else "train"
        published = {"train": drawn, "val": "test"}
        splits = {"official": split if is_val_listed else drawn}
        if is_val_listed and split in published:
            splits["published"] = published[split]
        return Film(
            image_id=f"{split}/{entry.file}",
            patient_id=entry.patient_id,
            labels=tuple(int(entry.label == finding) for finding in self.findings),
            splits=splits,
            origin=entry.origin,
        )

    def _image_paths(self, split: str, entries: Mapping[str, Entry], refusals: list[Refusal]) -> dict[str, Path]:
        """The files of a split's folder, and those of its list that are elsewhere, by film."""
        paths: dict[str, Path] = {}
        for folder in (self.raw_dir / split, self.raw_dir / IMAGES, *map(Path, self.more_images)):
            listing = list_files(folder, lambda _: True, is_deep=False) if folder.is_dir() else Listing()
            named = as_listed(listing.files, entries)
            is_own = folder == self.raw_dir / split
            found = {f"{split}/{name}": path for name, path in named.items() if is_own or name in entries}
            paths = found | paths
            if is_own:
                refusals += [refusal._replace(item=f"{split}/{refusal.item}") for refusal in listing.refusals]
        return paths

    def _left_out(self, alone: set[str], lists: Mapping[str, Path]) -> set[str]:
        """Files that only other lists of the download name, such as the binary list beside that of three classes."""
        others = sorted(set(self.raw_dir.glob("*.txt")) - set(lists.values())) if alone else []
        named = {name for path in others for name in named_files(path)}
        left_out = {film for film in alone if film.partition("/")[2] in named}
        if left_out:
            logger.info("%s: %d films that only other lists name are left out", self.name, len(left_out))
        return left_out


def as_listed(files: Mapping[str, Path], entries: Collection[str]) -> dict[str, Path]:
    """Files by the names that a list gives them, which may write an ending in another case."""
    spelled = {plain_ending(name): name for name in entries}
    named = {name: path for name, path in files.items() if name in entries}
    for name, path in files.items():
        listed = spelled.get(plain_ending(name), name)
        named.setdefault(name if listed in named else listed, path)
    return named


@dataclass(frozen=True)
class CovidX3Source(CovidxSource):
    """COVIDx CXR-3 in three classes, by the lists that EVA-X uses (version 9A) or by the cleaned ones of 2022."""

    name: ClassVar[str] = "covidx3"
    version: ClassVar[str] = "CXR-3"
    findings: ClassVar[tuple[str, ...]] = COVIDX3
    lists: ClassVar[Mapping[str, tuple[str, ...]]] = {
        split: (f"{split}_COVIDx9A.txt", f"{split}_COVIDx_CXR-3A.txt", f"{split}.txt") for split in ("train", "test")
    }
    advice: ClassVar[str] = (
        f"download version 5 from {DOWNLOAD} and put the lists of three classes, from {LISTS_AT}, "
        "beside its train/ and test/"
    )


@dataclass(frozen=True)
class CovidX4Source(CovidxSource):
    """COVIDx CXR-4 in two classes, with its own validation list."""

    name: ClassVar[str] = "covidx4"
    version: ClassVar[str] = "CXR-4"
    findings: ClassVar[tuple[str, ...]] = COVIDX4
    lists: ClassVar[Mapping[str, tuple[str, ...]]] = {split: (f"{split}.txt",) for split in ("train", "val", "test")}
    advice: ClassVar[str] = f"download COVIDx CXR-4 from {DOWNLOAD} and give its folder as raw_dir=..."
