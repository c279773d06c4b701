"""Tuberculosis in the Shenzhen set (Jaeger et al. 2014), with the lesion masks of Yang et al. (2022)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from jaxtyping import UInt8

from evax.data.film import BadFilmError, Film, Refusal
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.mask_reading import READING, read_mask
from evax.data.mask_values import binary
from evax.data.sources.masked import (
    LISTS,
    PNG,
    MaskedSource,
    draw_split,
    images_in,
    listed,
    read_members,
    shown,
    told_of,
    unmatched,
    unnamed,
)
from evax.data.sources.tables import digest_of, once

Unmarked = Literal["refuse", "empty"]

DOWNLOAD = "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Shenzhen-Hospital-CXR-Set/"
IMAGES = ("CXR_png", "images")
MASKS = ("Annotations/masks", "Annotations", "masks")
ID_LENGTH = 13  # CHNCXR_0327_1
ABNORMAL = re.compile(r"CHNCXR_\d{4}_1")
TRAIN_SHARE = 0.7  # of the films under "official", rounded down
SEED = 0  # of the draw of "official", whose list was never published
VAL_SHARE, TEST_SHARE = 0.1, 0.3  # of the patients under "clean"
SALT = "evax/shenzhen/clean"
MASK = "tuberculosis"


@dataclass(frozen=True)
class ShenzhenSource(MaskedSource):
    """Abnormal films with one mask, `tuberculosis`: the maximum of the masks whose names begin with the film's.

    `raw_dir` has CXR_png/ and Annotations/masks/. `unmarked` refuses abnormal films without a mask, or takes them with
    an empty one. Scheme "official" is int(0.7 n) films to train and the rest to test, as published, by a draw of ours
    (theirs had no seed) that the pack keeps, or lists/train.txt and lists/test.txt; "clean" is drawn by patient.
    """

    name: ClassVar[str] = "shenzhen"
    version: ClassVar[str] = "2022"
    share: ClassVar[Literal["public", "credentialed"]] = "public"
    findings: ClassVar[tuple[str, ...]] = ()

    raw_dir: Path
    unmarked: Unmarked = "refuse"

    def __post_init__(self) -> None:
        if self.unmarked not in get_args(Unmarked):
            raise ValueError(f"source.unmarked={self.unmarked} is unknown; use {' or '.join(get_args(Unmarked))}")

    @property
    def drawn(self) -> Mapping[str, tuple[str, ...]]:
        """All splits that no list tells."""
        official = {} if listed(self.raw_dir / LISTS) else {"official": ("train", "test")}
        return {"clean": ("train", "val", "test"), **official}

    @property
    def provenance(self) -> dict[str, str]:
        """The lists, or the draw."""
        drawn = {"official": f"int({TRAIN_SHARE} n) films train, drawn with seed {SEED}"}
        return told_of(listed(self.raw_dir / LISTS)) or drawn

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The abnormal films by name, and the films and masks that are alone."""
        images, marked = self._folders
        refusals: list[Refusal] = unnamed(marked)
        masks = self._masks
        paths = {path.stem: path for path in images_in(images, PNG, refusals) if ABNORMAL.fullmatch(path.stem)}
        wanted = [name for name in paths if name in masks or self.unmarked == "empty"]
        refusals += [
            Refusal(name, "no_mask", "an image without a mask, a PNG file whose name begins with its own")
            for name in paths
            if name not in wanted
        ]
        for name, parts in masks.items():
            if name not in paths:
                refusals += [Refusal(path.name, "no_film", "a mask without its image") for path in parts]
        members = read_members(listed(self.raw_dir / LISTS), refusals) or _official(wanted)
        refusals += unmatched(members, paths, "missing", "an abnormal film")
        return [_film(name, members, paths[name]) for name in wanted], once(refusals)

    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """The union of all instances."""
        union = np.zeros((height, width), np.uint8)
        paths = self._masks.get(film.image_id, [])
        for path in paths:
            mask = binary(read_mask(path), path)
            if mask.shape != union.shape:
                raise BadFilmError("mask_size", f"{path.name} and its film differ in size")
            union |= mask
        if paths and not union.any():
            raise BadFilmError("empty_mask", "masks without a pixel")
        return {MASK: union}

    def fingerprint(self) -> str:
        """The sha256 of the masks and lists, the setting, and how masks are read."""
        masks = [path for parts in self._masks.values() for path in parts]
        files = [*listed(self.raw_dir / LISTS).values(), *masks]
        return digest_of(self.raw_dir, files, f"{self.unmarked} reading {READING}")

    @cached_property
    def _masks(self) -> dict[str, list[Path]]:
        """The masks of each film by the beginning of their names; only those of abnormal films are lesions."""
        masks: dict[str, list[Path]] = {}
        for path in shown(self._folders[1], PNG):
            masks.setdefault(path.name[:ID_LENGTH], []).append(path)
        return masks

    @cached_property
    def _folders(self) -> tuple[Path, Path]:
        """The folders of the films and of the masks."""
        found = [
            next((folder for name in names if (folder := self.raw_dir / name).is_dir() and shown(folder, PNG)), None)
            for names in (IMAGES, MASKS)
        ]
        images, masks = found
        if images is None or masks is None:
            missing = [names[0] for folder, names in zip(found, (IMAGES, MASKS), strict=True) if folder is None]
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks PNG files in {' and '.join(missing)}: download the set from {DOWNLOAD} "
                "and its lesion masks, and give the folder of both as raw_dir=..."
            )
        return images, masks


def _official(names: list[str]) -> dict[str, str]:
    """The published numbers of films, by a draw of our own."""
    order = keyed_generator(SEED, Stream.SPLIT).permutation(len(names))
    train = {names[place] for place in order[: int(TRAIN_SHARE * len(names))]}
    return {name: "train" if name in train else "test" for name in names}


def _film(name: str, members: Mapping[str, str], path: Path) -> Film:
    splits = {"clean": draw_split(SALT, name, val=VAL_SHARE, test=TEST_SHARE)}
    if name in members:
        splits["official"] = members[name]
    return Film(image_id=name, patient_id=name, labels=(), splits=splits, path=path)
