"""A folder of films with one or more folders of masks beside it."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import UInt8

from evax.data.film import BadFilmError, Film, Refusal
from evax.data.mask_reading import read_mask, values_of
from evax.data.sources.masked import MaskedSource, draw_split, listed, read_members, shown, told_of, unmatched
from evax.data.sources.tables import digest_of, once

logger = logging.getLogger(__name__)

Splits = Literal["lists", "drawn"]

IMAGES = "images"
FILMS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
MOST_VALUES = 32  # of a mask; more are the greys of a soft border
VAL_SHARE, TEST_SHARE = 0.1, 0.2  # of the patients, where no list tells
SALT = "evax/masks"


@dataclass(frozen=True)
class MaskFolderSource(MaskedSource):
    """Films in `raw_dir`/images, and PNG masks of the same names in folders beside it; they never leave the machine.

    `masks` names those folders, and so the pack's masks; null is all of them. Values are kept, but in a folder whose
    masks all are of 0 and 1, or of 0 and 255, they become 0 and 1. `patient` is a regular expression whose first group
    is the patient in a film's name; a film that it does not match is a patient of its own, and with null each is.
    Scheme "official" is train.txt, val.txt and test.txt, a name a line. Scheme "clean" has the same test films; where
    there is no val.txt, `val_share` of the patients of train.txt validate. Without lists, and where `splits="drawn"`
    leaves them unread, patients are drawn: `val_share` to val, 20 % to test. Each patient's draw hangs on the name
    alone, so that other patients, or another share, do not change it.
    """

    name: ClassVar[str] = "masks"
    version: ClassVar[str] = "2"  # 1: every 255 was 1
    share: ClassVar[Literal["public", "credentialed"]] = "credentialed"
    redraw: ClassVar[str] = "source.splits=drawn"
    findings: ClassVar[tuple[str, ...]] = ()

    raw_dir: Path
    masks: Sequence[str] | None = None
    patient: str | None = None
    splits: Splits = "lists"
    val_share: float = VAL_SHARE

    def __post_init__(self) -> None:
        if self.patient is not None and _groups(self.patient) < 1:
            raise ValueError(f"source.patient={self.patient} must be a regular expression with a group: the patient")
        if self.splits not in get_args(Splits):
            raise ValueError(f"source.splits={self.splits} is unknown; use {' or '.join(get_args(Splits))}")
        if not 0 < self.val_share < 1 - TEST_SHARE:
            raise ValueError(f"source.val_share={self.val_share} must lie between 0 and {1 - TEST_SHARE}")

    @property
    def drawn(self) -> Mapping[str, tuple[str, ...]]:
        """What no list tells."""
        lists = self._lists
        if "val" in lists:
            return {}
        return {"clean": ("train", "val") if lists else ("train", "val", "test")}

    @property
    def provenance(self) -> dict[str, str]:
        """The lists, and how patients were told."""
        patients = "each film is one" if self.patient is None else f"{self.patient} in a film's name"
        return (told_of(self._lists) or {"splits": "drawn by patient"}) | {"patients": patients}

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films by name, and the films and masks that are alone."""
        refusals: list[Refusal] = []
        members = read_members(self._lists, refusals)
        films = []
        folders = self._folders
        paths = shown(self.raw_dir / IMAGES, FILMS)
        for path in paths:
            missing = [folder for folder in folders if not self._mask(folder, path).is_file()]
            if missing:
                refusals.append(Refusal(path.name, "no_mask", f"a film without its mask in {', '.join(missing)}"))
            else:
                films.append(self._film(path, members))
        self._check_patients(paths)
        _ = self._of_one_thing  # known before processes share the reading
        refusals += self._alone(folders, paths)
        names = {name for path in paths for name in (path.name, path.stem)}
        return films, once([*refusals, *unmatched(members, names, "missing", "a film")])

    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """The masks of all folders; one without anything on it is no fault."""
        assert film.path is not None
        return {folder: self._read(folder, self._mask(folder, film.path)) for folder in self._folders}

    def fingerprint(self) -> str:
        """The sha256 of the lists and masks, and the settings."""
        masks = [path for folder in self._folders for path in shown(self.raw_dir / folder, FILMS)]
        settings = f"{self.masks} {self.patient} {self.splits} {self.val_share}"
        return digest_of(self.raw_dir, [*self._lists.values(), *masks], settings)

    @cached_property
    def _lists(self) -> dict[str, Path]:
        """The lists that are read."""
        return listed(self.raw_dir) if self.splits == "lists" else {}

    @cached_property
    def _of_one_thing(self) -> frozenset[str]:
        """The folders in which every mask that can be read is of 0 and 1, or of 0 and 255."""
        return frozenset(folder for folder in self._folders if self._is_of_one_thing(folder))

    def _is_of_one_thing(self, folder: str) -> bool:
        paths = shown(self.raw_dir / folder, (".png",))
        logger.info("masks: looking at the values of %d in %s", len(paths), folder)
        for path in paths:
            try:
                values = class_values(read_mask(path), path)
            except BadFilmError:
                continue  # named where its film is read
            if not (values <= {0, 1} or values <= {0, 255}):
                return False
        return True

    def _read(self, folder: str, path: Path) -> UInt8[np.ndarray, "H W"]:
        mask = read_mask(path)
        class_values(mask, path)
        return (mask > 0).astype(np.uint8) if folder in self._of_one_thing else mask

    def _mask(self, folder: str, film: Path) -> Path:
        return self.raw_dir / folder / f"{film.stem}.png"

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        """The names of the masks, in order."""
        if not (self.raw_dir / IMAGES).is_dir():
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {IMAGES}/: films are wanted there, and PNG masks of the same names in "
                "folders beside it, such as lungs/"
            )
        folders = [path for path in self.raw_dir.iterdir() if path.is_dir() and path.name != IMAGES]
        names = tuple(sorted(path.name for path in folders if any(path.glob("*.png"))))
        if self.masks is None and not names:
            raise FileNotFoundError(f"raw_dir={self.raw_dir} has no folder of PNG masks beside {IMAGES}/")
        absent = [name for name in self.masks or () if name not in names]
        if absent:
            raise FileNotFoundError(f"source.masks: {self.raw_dir} has no masks {', '.join(absent)}/; it has: {names}")
        return names if self.masks is None else tuple(self.masks)

    def _alone(self, folders: Iterable[str], films: Iterable[Path]) -> list[Refusal]:
        """Masks that have no film."""
        stems = {path.stem for path in films}
        masks = ((folder, path) for folder in folders for path in shown(self.raw_dir / folder, FILMS))
        alone = [(folder, path) for folder, path in masks if path.stem not in stems]
        return [Refusal(f"{folder}/{path.name}", "no_film", "a mask without its film") for folder, path in alone]

    def _film(self, path: Path, members: Mapping[str, str]) -> Film:
        patient = self._told(path) or path.name
        splits = self._splits(patient, members.get(path.name, members.get(path.stem)), is_listed=bool(members))
        return Film(image_id=path.name, patient_id=patient, labels=(), splits=splits, path=path)

    def _told(self, path: Path) -> str | None:
        """The patient in a film's name."""
        match = re.search(self.patient, path.name) if self.patient is not None else None
        return match[1] if match else None

    def _check_patients(self, paths: Sequence[Path]) -> None:
        """Refuse an expression that finds no patient, and count what it found."""
        told = [patient for path in paths if (patient := self._told(path))]
        if self.patient is not None and paths and not told:
            raise ValueError(f"source.patient={self.patient} finds a patient in no film's name")
        counts = len(told), len(paths), len({*told}), len(paths) - len(told)
        logger.info(
            "masks: the names of %d of %d films tell %d patients; the other %d films count as one each", *counts
        )

    def _splits(self, patient: str, official: str | None, *, is_listed: bool) -> dict[str, str]:
        """The film's split under both schemes."""
        if not is_listed:
            return {"clean": draw_split(SALT, patient, val=self.val_share, test=TEST_SHARE)}
        if official is None:
            return {}
        is_drawn = official == "train" and "clean" in self.drawn
        clean = draw_split(SALT, patient, val=self.val_share, test=0.0) if is_drawn else official
        return {"official": official, "clean": clean}


def _groups(expression: str) -> int:
    try:
        return re.compile(expression).groups
    except re.error:
        return 0


def class_values(mask: UInt8[np.ndarray, "H W"], path: Path) -> set[int]:
    """The values of a mask; BadFilmError for more than classes can be."""
    values = values_of(mask)
    if len(values) > MOST_VALUES:
        raise BadFilmError(
            "bad_mask", f"{path.name} has {len(values)} values, as of a soft border: one a class is wanted"
        )
    return values
