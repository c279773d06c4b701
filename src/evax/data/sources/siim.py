"""SIIM-ACR Pneumothorax Segmentation (2019): films of NIH with the runs of their pneumothorax."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from evax.data.files import has_suffix, list_files
from evax.data.film import BadFilmError, Film, Refusal
from evax.data.labels import ABSENT, PRESENT
from evax.data.manifest import IDENTITY
from evax.data.paired import resize_mask
from evax.data.run_length import decode_runs
from evax.data.sources.dicom_header import About, read_about
from evax.data.sources.masked import (
    LISTS,
    OF_NIH,
    Chosen,
    MaskedSource,
    check_chosen,
    draw_split,
    listed,
    read_members,
    told_of,
    unmatched,
)
from evax.data.sources.tables import digest_of, once, read_rows, with_files

logger = logging.getLogger(__name__)

DOWNLOAD = "https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation/data"
TABLES = ("stage_2_train.csv", "train-rle.csv")  # the whole training table, and that of the first stage
COLUMNS = ("ImageId", "EncodedPixels")
FORMER_COLUMNS = {"EncodedPixels": " EncodedPixels"}  # of the first stage
NO_RUNS = "-1"
SIDE = 1024  # runs count the pixels of the published 1024 x 1024 films
UNLABELLED = ("test", "stage_2_images")  # in the names of folders whose films the table may not have
VAL_SHARE, TEST_SHARE = 0.1, 0.3  # of the patients; the published lists have 801 of 2,669 films as test
SALT = "evax/siim/clean"
MASK, LAST = "pneumothorax", "pneumothorax_last"


@dataclass(frozen=True)
class SiimSource(MaskedSource):
    """Films with the mask `pneumothorax` of all rows of a film, and `pneumothorax_last` of its last row alone.

    The last row alone is what EVA-X's code keeps. `raw_dir` holds the table of either stage, and the films anywhere
    below it, DICOM as published or PNG. `chosen` takes films with a pneumothorax, or all. Scheme "official" is
    lists/train.txt and lists/test.txt, EVA-X's lists, where they are given; "clean" is drawn by patient.
    """

    name: ClassVar[str] = "siim"
    version: ClassVar[str] = "2019"
    share: ClassVar[Literal["public", "credentialed"]] = "public"
    findings: ClassVar[tuple[str, ...]] = ("Pneumothorax",)
    leaky: ClassVar[tuple[str, ...]] = ("official",)
    drawn: ClassVar[Mapping[str, tuple[str, ...]]] = {"clean": ("train", "val", "test")}

    raw_dir: Path
    chosen: Chosen = "positive"

    def __post_init__(self) -> None:
        check_chosen(self.chosen)

    @property
    def provenance(self) -> dict[str, str]:
        """The table and the lists."""
        return {self._table().name: "masks", **told_of(listed(self.raw_dir / LISTS)), IDENTITY: OF_NIH}

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films of the table in its order, and the rows and files that do not fit."""
        refusals: list[Refusal] = []
        table = read_runs(self._table(), refusals)
        members = read_members(listed(self.raw_dir / LISTS), refusals)
        paths = self._paths(refusals)
        is_shown = {name: any(runs != NO_RUNS for runs in rows) for name, rows in table.items()}
        wanted = [name for name in table if is_shown[name] or self.chosen == "all"]
        films = {name: _film(name, is_shown[name], members, paths.get(name)) for name in wanted}
        others = {name: path.relative_to(self.raw_dir) for name, path in paths.items() if name not in table}
        unlabelled = {name for name, path in others.items() if _may_be_unlabelled(path)}
        refusals += unmatched(members, table, "no_row", f"a row of {self._table().name}")
        kept, alone = with_files(films, paths, {*table, *unlabelled})
        left_out = len(table) - len(wanted), len(unlabelled)
        logger.info("siim: %d films; %d without pneumothorax and %d without a row are left out", len(kept), *left_out)
        return kept, once([*refusals, *alone])

    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """The union of all rows, and the last row; a film of another size than the published has them resized."""
        table = self._table()
        rows = _runs_of(table, table.stat().st_mtime_ns)[film.image_id]
        try:
            masks = [decode_runs(runs, SIDE, SIDE) for runs in rows]
        except ValueError as error:
            raise BadFilmError("bad_mask", str(error)) from None
        if height != width:
            raise BadFilmError("mask_size", f"a film of {width}x{height}, and runs of {SIDE}x{SIDE}")
        union = masks[0]
        for mask in masks[1:]:
            union = cv2.max(union, mask)
        if film.labels[0] == PRESENT and not union.any():
            raise BadFilmError("empty_mask", "runs without a pixel")
        return {MASK: resize_mask(union, height), LAST: resize_mask(masks[-1], height)}

    def fingerprint(self) -> str:
        """The sha256 of the table and lists, and the choice of films."""
        return digest_of(self.raw_dir, [self._table(), *listed(self.raw_dir / LISTS).values()], self.chosen)

    def _table(self) -> Path:
        found = [self.raw_dir / name for name in TABLES if (self.raw_dir / name).is_file()]
        if not found:
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {' or '.join(TABLES)}: download SIIM-ACR from {DOWNLOAD}, and give the "
                "folder of its table and films as raw_dir=..."
            )
        return found[0]

    def _paths(self, refusals: list[Refusal]) -> dict[str, Path]:
        """The files of films by their name without its ending."""
        paths: dict[str, Path] = {}
        listing = list_files(self.raw_dir, has_suffix)
        refusals += listing.refusals
        for name, path in listing.files.items():
            if path.stem in paths:
                refusals.append(Refusal(name, "duplicate_file"))
            else:
                paths[path.stem] = path
        if not paths:
            raise FileNotFoundError(f"raw_dir={self.raw_dir} has no films below it: download them from {DOWNLOAD}")
        return paths


def read_runs(path: Path, refusals: list[Refusal]) -> dict[str, list[str]]:
    """The runs of each film's rows, in order; a row that is there twice is listed once."""
    table: dict[str, list[str]] = {}
    for row in read_rows(path, COLUMNS, DOWNLOAD, FORMER_COLUMNS):
        name, runs = row["ImageId"].strip(), " ".join(row["EncodedPixels"].split())
        rows = table.setdefault(name, [])
        if runs in rows:
            refusals.append(Refusal(f"{name} (row)", "duplicate_row", "a repetition"))
            rows.remove(runs)  # the last row stays the last
        rows.append(runs)
    for name in [name for name, rows in table.items() if NO_RUNS in rows and len(rows) > 1]:
        refusals.append(Refusal(f"{name} (row)", "bad_label", f"{NO_RUNS} beside runs"))
        table[name].remove(NO_RUNS)
    return table


@lru_cache(maxsize=1)
def _runs_of(path: Path, changed: int) -> dict[str, list[str]]:
    """The table as of a time, read once by each process that decodes films."""
    return read_runs(path, [])


def _film(name: str, is_shown: bool, members: Mapping[str, str], path: Path | None) -> Film:
    about = read_about(path) if path is not None and has_suffix(path, (".dcm", ".dicom")) else About()
    patient = about.patient or name
    splits = {"clean": draw_split(SALT, patient, val=VAL_SHARE, test=TEST_SHARE)}
    if name in members:
        splits["official"] = members[name]
    labels = (PRESENT if is_shown else ABSENT,)
    return Film(name, patient, labels, splits, view=about.view, sex=about.sex, age=about.age, path=path)


def _may_be_unlabelled(path: Path) -> bool:
    """Whether the folders of a film, from `raw_dir`, are those of the competition's test films."""
    return any(word in part.lower() for part in path.parts[:-1] for word in UNLABELLED)
