"""A folder of films with one or more folders of masks beside it."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import UInt8

from evax.data.files import IMAGE_SUFFIXES, has_suffix
from evax.data.film import BadFilmError, Film, Refusal
from evax.data.mask_files import BAD_MASK
from evax.data.mask_reading import Colour, read_painted
from evax.data.mask_values import NUMBERS, blurred_values, class_values, solid_values
from evax.data.sources.masked import (
    PNG,
    MaskedSource,
    by_stem,
    draw_split,
    images_in,
    listed,
    png_of,
    read_members,
    shown,
    told_of,
    unmatched,
    unnamed,
)
from evax.data.sources.tables import digest_of, once

logger = logging.getLogger(__name__)

Splits = Literal["lists", "drawn"]

IMAGES = "images"
NUMBERS_KNOWN = frozenset(NUMBERS)  # of classes, as long as not all masks are seen
VAL_SHARE, TEST_SHARE = 0.1, 0.2  # of the patients, where no list tells
SALT = "evax/masks"


class Look(NamedTuple):
    """What the masks of a folder have in common.

    Whether each that can be read is of 0 and 1, or of 0 and 255; where values stand for colours, the colour of each
    and the name of the file that has it first; and the values that fill a square in one of them, and so are no border.
    """

    is_of_one_thing: bool
    colours: Mapping[int, tuple[Colour, str]]
    solid: Set[int]


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
    version: ClassVar[str] = "3"  # 1: every 255 was 1; 2: as `evax.data.mask_reading.READING` 1
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
        files = {folder: by_stem(shown(self.raw_dir / folder)) for folder in folders}
        paths = images_in(self.raw_dir / IMAGES, IMAGE_SUFFIXES, refusals)
        for path in paths:
            faults = [fault for folder in folders if (fault := _fault(folder, files[folder].get(path.stem, [])))]
            if faults:
                refusals.append(Refusal(path.name, "no_mask", "; ".join(faults)))
            else:
                films.append(self._film(path, members))
        self._check_patients(paths)
        _ = self._looks  # known before processes share the reading
        refusals += self._alone(files)
        names = {name for path in shown(self.raw_dir / IMAGES) for name in (path.name, path.stem)}
        return films, once([*refusals, *unmatched(members, names, "missing", "a film")])

    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """The masks of all folders; one without anything on it is no fault."""
        assert film.path is not None
        return {folder: self._read(folder, film.path.stem) for folder in self._folders}

    def fingerprint(self) -> str:
        """The sha256 of the lists and masks, and the settings."""
        masks = [path for folder in self._folders for path in shown(self.raw_dir / folder, PNG)]
        settings = f"{self.masks} {self.patient} {self.splits} {self.val_share}"
        return digest_of(self.raw_dir, [*self._lists.values(), *masks], settings)

    @cached_property
    def _lists(self) -> dict[str, Path]:
        """The lists that are read."""
        return listed(self.raw_dir) if self.splits == "lists" else {}

    @cached_property
    def _looks(self) -> dict[str, Look]:
        """What the masks of each folder have in common."""
        return {folder: self._look(folder) for folder in self._folders}

    def _look(self, folder: str) -> Look:
        paths = shown(self.raw_dir / folder, PNG)
        logger.info("masks: looking at the values of %d in %s", len(paths), folder)
        is_of_one_thing, colours, solid = True, dict[int, tuple[Colour, str]](), set[int]()
        seen: list[tuple[str, set[int], list[int], Mapping[int, Colour]]] = []
        for path in paths:
            try:
                mask = read_painted(path)
                values = class_values(mask.values, path, known=NUMBERS_KNOWN)
            except BadFilmError:
                continue  # named where its image is read
            seen.append((path.name, values, blurred_values(mask.values, values), mask.colours))
            solid |= solid_values(mask.values)
        for name, values, blurred, colours_of in seen:
            if not solid.issuperset(blurred):
                continue
            is_of_one_thing &= values <= {0, 1} or values <= {0, 255}
            for value, colour in colours_of.items():
                colours.setdefault(value, (colour, name))
        return Look(is_of_one_thing, colours, solid)

    def _read(self, folder: str, stem: str) -> UInt8[np.ndarray, "H W"]:
        path = png_of(self.raw_dir / folder, stem)
        if path is None:
            raise BadFilmError("no_mask", folder)
        mask, look = read_painted(path), self._looks[folder]
        class_values(mask.values, path, look.solid)
        for value, colour in mask.colours.items():
            first, other = look.colours.get(value, (colour, path.name))
            if colour != first:
                raise BadFilmError(
                    BAD_MASK,
                    f"{folder}/{path.name} has another colour for {value} than {other}, so they may be two classes: "
                    "save all with one palette, or as grey with one value a class",
                )
        return (mask.values > 0).astype(np.uint8) if look.is_of_one_thing else mask.values

    @cached_property
    def _folders(self) -> tuple[str, ...]:
        """The names of the masks, in order."""
        if not (self.raw_dir / IMAGES).is_dir():
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {IMAGES}/: films are wanted there, and PNG masks of the same names in "
                "folders beside it, such as lungs/"
            )
        found = [path for path in sorted(self.raw_dir.iterdir()) if path.is_dir()]
        folders = [path for path in found if path.name != IMAGES and not path.name.startswith(".")]
        names = tuple(path.name for path in folders if shown(path, PNG))
        others = [f"{path.name}/ ({_endings(path)})" for path in folders if path.name not in names and shown(path)]
        if self.masks is None and not names:
            there = f", only {', '.join(others)}: save masks as PNG" if others else ""
            raise FileNotFoundError(f"raw_dir={self.raw_dir} has no folder of PNG masks beside {IMAGES}/{there}")
        if self.masks is None and others:
            logger.warning("masks: left out, as no PNG is in them: %s", ", ".join(others))
        absent = [name for name in self.masks or () if name not in names]
        if absent:
            raise FileNotFoundError(f"source.masks: {self.raw_dir} has no masks {', '.join(absent)}/; it has: {names}")
        return names if self.masks is None else tuple(self.masks)

    def _alone(self, files: Mapping[str, Mapping[str, Sequence[Path]]]) -> list[Refusal]:
        """Files in folders of masks, by folder and name, that have no image."""
        there = by_stem(shown(self.raw_dir / IMAGES))
        refusals = []
        for folder, masks in files.items():
            refusals += unnamed(self.raw_dir / folder)
            for path in (path for paths in masks.values() for path in paths if has_suffix(path)):
                images = there.get(path.stem, [])
                if not images:
                    refusals.append(Refusal(f"{folder}/{path.name}", "no_film", "a mask without its image"))
                elif not any(map(has_suffix, images)):
                    why = f"{images[0].name} is no PNG, JPEG or DICOM by its name: save it as PNG"
                    refusals.append(Refusal(f"{folder}/{path.name}", "no_film", why))
        return refusals

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


def _fault(folder: str, files: Sequence[Path]) -> str:
    """Why the files of one name in a folder of masks are not one mask; "" where they are."""
    pngs = [path for path in files if path.suffix.lower() in PNG]
    if len(pngs) == 1:
        return ""
    if pngs:
        return f"{folder} has {' and '.join(path.name for path in pngs)}: keep one"
    if files:
        return f"{folder}/{files[0].name} is no PNG file by its name: save the mask as PNG"
    return f"an image without its mask in {folder}"


def _endings(folder: Path) -> str:
    """How many files of a folder have which ending."""
    counts = Counter(path.suffix.lower() or "no ending" for path in shown(folder))
    return ", ".join(f"{count} {ending}" for ending, count in counts.items())
