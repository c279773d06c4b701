"""What sources of films with masks have in common."""

import logging
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from evax.data.atomic import sha256_of
from evax.data.files import has_suffix, is_hidden, is_text, left_out, list_files, unsafe
from evax.data.film import BadFilmError, Film, Pixels, Refusal
from evax.data.mask_files import UPRIGHT, turn_of
from evax.data.reading import read_grey
from evax.data.sources.base import Source
from evax.data.sources.table_text import read_text
from evax.data.splits import IN_TWO_SPLITS, patient_draw

logger = logging.getLogger(__name__)

OF_NIH = "films of NIH by other names, and nothing tells which: those of a pre-training may be among them"
LISTS = "lists"  # the folder of EVA-X's train.txt and test.txt, beside the download
SPLITS = ("train", "val", "test")
Chosen = Literal["positive", "all"]  # films with the finding, or all of them
PNG = (".png",)
PNG_ENDINGS = tuple("".join(letters) for letters in product(".", "pP", "nN", "gG"))


class MaskedSource(Source):
    """A source whose films are files with masks of their own."""

    def read(self, film: Film) -> Pixels:
        """Decode a film and its masks; one that EXIF turns is refused, as its masks may be turned or not."""
        if film.path is None:
            raise BadFilmError("missing")
        image = read_grey(film.path)
        check_upright(film.path)
        height, width = image.shape
        return Pixels(image, self.masks_of(film, height, width))

    @abstractmethod
    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """The masks of a film of height x width pixels, by name; raises BadFilmError."""


def check_upright(path: Path) -> None:
    """Raise BadFilmError ("turned") for an image that can be read, and that EXIF turns or mirrors."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            turn = turn_of(image)
    except UnidentifiedImageError:  # DICOM, which has no EXIF
        return
    if turn != UPRIGHT:
        raise BadFilmError(
            "turned",
            f"{path.name} is turned by its EXIF orientation ({turn}), and its mask may not be: save the image upright "
            "without it, and see that the mask lies on it",
        )


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


def png_of(folder: Path, stem: str) -> Path | None:
    """The PNG file of a name, whatever the case of its ending."""
    return next((path for ending in PNG_ENDINGS if (path := folder / f"{stem}{ending}").is_file()), None)


def by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Files by their names without endings."""
    stems: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        stems[path.stem].append(path)
    return dict(stems)


def images_in(folder: Path, suffixes: Collection[str], refusals: list[Refusal]) -> list[Path]:
    """The images of a folder by name; such as differ in their endings alone, or cannot be listed, are refused."""
    listing = list_files(folder, lambda path: has_suffix(path, suffixes), is_deep=False)
    refusals += listing.refusals
    if told := left_out(listing):
        logger.info("%s/: %s", folder.name, told)
    kept = []
    for alike in by_stem(listing.files.values()).values():
        names = " and ".join(path.name for path in alike)
        if len(alike) == 1:
            kept += alike
        else:
            why = f"{names} differ in their endings alone: keep one, or give each a name of its own"
            refusals += [Refusal(path.name, "duplicate_file", why) for path in alike]
    return kept


def shown(folder: Path, suffixes: Collection[str] | None = None) -> list[Path]:
    """The files of a folder with one of some endings, or with any, by name, without hidden ones and `unnamed` ones."""
    paths = sorted(path for path in folder.iterdir() if not is_hidden(path.name) and is_text(path.name))
    return [path for path in paths if (suffixes is None or has_suffix(path, suffixes)) and not path.is_dir()]


def unnamed(folder: Path) -> list[Refusal]:
    """The refusals of files whose names are not UTF-8."""
    refusals = [unsafe(path.name) for path in sorted(folder.iterdir()) if not is_text(path.name)]
    return [refusal._replace(item=f"{folder.name}/{refusal.item}") for refusal in refusals]
