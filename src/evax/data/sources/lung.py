"""The lung masks of Zhang (2019): 1,000 films of RSNA in two given folders."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import UInt8

from evax.data.film import BadFilmError, Film, Refusal
from evax.data.manifest import IDENTITY
from evax.data.mask_reading import READING, read_mask
from evax.data.mask_values import binary
from evax.data.sources.masked import OF_NIH, PNG, MaskedSource, draw_split, images_in, png_of, shown, unnamed
from evax.data.sources.tables import digest_of

DOWNLOAD = "https://doi.org/10.5281/zenodo.7191406"
PARTS = ("train", "test")
IMAGES, MASKS = ("images", "image"), ("masks", "mask", "labels", "label")  # however they are capitalised
ENDS = ("", "_mask", "_label")  # of a mask's name, after that of its film
VALIDATION_SHARE = 0.1  # of the films of Train
SALT = "evax/lung/clean"
LUNG = "lung"


@dataclass(frozen=True)
class LungSource(MaskedSource):
    """Both lungs as one mask, `lung`, of 0 and 1.

    `raw_dir`, or the one folder in it, has Train/Images, Train/Masks, Test/Images and Test/Masks. Scheme "official" is
    these folders; "clean" draws validation from Train by film, as nothing tells the patients.
    """

    name: ClassVar[str] = "lung"
    version: ClassVar[str] = "2019"
    share: ClassVar[Literal["public", "credentialed"]] = "public"
    findings: ClassVar[tuple[str, ...]] = ()
    drawn: ClassVar[Mapping[str, tuple[str, ...]]] = {"clean": ("train", "val")}

    raw_dir: Path

    @property
    def provenance(self) -> dict[str, str]:
        """That patients are not known."""
        return {IDENTITY: OF_NIH}

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films of both folders by name, and the films and masks that are alone."""
        films: list[Film] = []
        refusals: list[Refusal] = []
        for part, images, masks in self._folders():
            used = set()
            for path in images_in(images, (".png", ".jpg", ".jpeg"), refusals):
                name = f"{part}/{path.name}"
                mask = mask_of(path)
                used.add(mask)
                if mask is None:
                    refusals.append(Refusal(name, "no_mask", "an image without its mask, a PNG file of its name"))
                else:
                    films.append(_film(name, part, path))
            alone = [path for path in shown(masks, PNG) if path not in used]
            refusals += [Refusal(f"{part}/{path.name} (mask)", "no_film", "a mask without its image") for path in alone]
            refusals += unnamed(masks)
        return films, refusals

    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """The mask of both lungs; a film without a lung is refused."""
        assert film.path is not None
        path = mask_of(film.path)
        if path is None:
            raise BadFilmError("no_mask")
        mask = binary(read_mask(path), path)
        if not mask.any():
            raise BadFilmError("empty_mask", "no lung")
        return {LUNG: mask}

    def fingerprint(self) -> str:
        """The sha256 of all masks, and how they are read."""
        masks = [path for *_, folder in self._folders() for path in shown(folder, PNG)]
        return digest_of(self.raw_dir, masks, f"reading {READING}")

    def _folders(self) -> Iterator[tuple[str, Path, Path]]:
        """The folders of films and of masks of Train and Test."""
        present = [self.raw_dir, *sorted(self.raw_dir.iterdir())] if self.raw_dir.is_dir() else []
        roots = [root for root in present if root.is_dir() and all(_one(root, (part,)) for part in PARTS)]
        for part in PARTS:
            folder = _one(roots[0], (part,)) if roots else None
            images, masks = (_one(folder, names) if folder else None for names in (IMAGES, MASKS))
            if images is None or masks is None:
                raise FileNotFoundError(
                    f"raw_dir={self.raw_dir} lacks {part.capitalize()}/Images or {part.capitalize()}/Masks: download "
                    f"the lung masks from {DOWNLOAD}, and give the folder of Train and Test as raw_dir=..."
                )
            yield part, images, masks


def mask_of(film: Path) -> Path | None:
    """The mask of a film: in the folder of masks beside the film's own, with its name."""
    masks = _one(film.parent.parent, MASKS)
    paths = [png_of(masks, f"{film.stem}{end}") for end in ENDS] if masks else []
    return next((path for path in paths if path is not None), None)


def _one(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The folder inside `folder` with one of some names, in upper or lower case."""
    found = [path for path in folder.iterdir() if path.is_dir() and path.name.lower() in names]
    return min(found, key=lambda path: names.index(path.name.lower()), default=None)


def _film(name: str, part: str, path: Path) -> Film:
    clean = draw_split(SALT, name, val=VALIDATION_SHARE, test=0.0) if part == "train" else part
    return Film(image_id=name, patient_id=name, labels=(), splits={"official": part, "clean": clean}, path=path)
