"""What sources of films with masks have in common."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8

from evax.data.atomic import sha256_of
from evax.data.film import BadFilmError, Film, Pixels, Refusal
from evax.data.reading import read_grey
from evax.data.sources.base import Source
from evax.data.sources.table_text import read_text
from evax.data.splits import IN_TWO_SPLITS, patient_draw

OF_NIH = "films of NIH by other names, and nothing tells which: those of a pre-training may be among them"
LISTS = "lists"  # the folder of EVA-X's train.txt and test.txt, beside the download
SPLITS = ("train", "val", "test")
Chosen = Literal["positive", "all"]  # films with the finding, or all of them


class MaskedSource(Source):
    """A source whose films are files with masks of their own."""

    def read(self, film: Film) -> Pixels:
        """Decode a film and its masks."""
        if film.path is None:
            raise BadFilmError("missing")
        image = read_grey(film.path)
        height, width = image.shape
        return Pixels(image, self.masks_of(film, height, width))

    @abstractmethod
    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """The masks of a film of height x width pixels, by name; raises BadFilmError."""


def check_chosen(chosen: str) -> None:
    """Raise ValueError for an unknown choice of films."""
    if chosen not in get_args(Chosen):
        raise ValueError(f"source.chosen={chosen} is unknown; use {' or '.join(get_args(Chosen))}")


def draw_split(salt: str, patient_id: str, *, val: float, test: float) -> str:
    """The split of a patient, where `val` and `test` are shares of all patients."""
    draw = patient_draw(salt, patient_id)
    return "test" if draw < test else "val" if draw < test + val else "train"


def listed(folder: Path) -> dict[str, Path]:
    """The list of each split that a folder has: train.txt, val.txt and test.txt."""
    paths = {split: folder / f"{split}.txt" for split in SPLITS}
    return {split: path for split, path in paths.items() if path.is_file()}


def read_members(lists: Mapping[str, Path], refusals: list[Refusal]) -> dict[str, str]:
    """The split of each name on a list, a line each; a name on two lists is refused, which stops the preparation."""
    members: dict[str, str] = {}
    for split, path in lists.items():
        for line in read_text(path).splitlines():
            name = line.strip()
            if name and members.setdefault(name, split) != split:
                refusals.append(Refusal(name, IN_TWO_SPLITS, f"{members[name]} and {split}"))
    return members


def unmatched(members: Mapping[str, str], names: Collection[str], reason: str, lack: str) -> list[Refusal]:
    """The names on a list that are none of `names`; `lack` is what each is without."""
    return [Refusal(name, reason, f"on a list, without {lack}") for name in members if name not in names]


def told_of(lists: Mapping[str, Path]) -> dict[str, str]:
    """What a manifest is to tell of lists: their splits and sha256."""
    return {f"{path.parent.name}/{path.name}": f"{split}, sha256 {sha256_of(path)}" for split, path in lists.items()}


def shown(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files of a folder with one of some endings, by name, without hidden ones."""
    endings = tuple(suffixes)
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix.lower() in endings)
