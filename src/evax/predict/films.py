"""The images of a folder, a batch at a time, as a network sees them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from evax.data.decoding import DecodingPool, FilmDecoder
from evax.data.files import Listing, is_text, list_files, unsafe
from evax.data.film import BadFilmError, Film, Refusal
from evax.data.film_view import FilmView
from evax.data.reading import read_grey

MOST_FILES = 256  # of a batch, where many are refused
MAX_BYTES = 2**29  # of a file; the largest detectors give some 40 million


class Batch(NamedTuple):
    """Some images by their path in the folder, what the network sees of them, and the files that are none.

    `shapes` are rows and columns of the images themselves.
    """

    names: list[str]
    squares: UInt8[np.ndarray, "N 1 S S"]
    shapes: list[tuple[int, int]]
    refusals: list[Refusal]


class Seen(NamedTuple):
    """What a network sees of a film of `shape` (rows, columns)."""

    square: UInt8[np.ndarray, "S S"]
    shape: tuple[int, int]


@dataclass(frozen=True)
class FilmReader(FilmDecoder[Seen]):
    """Reads films into what a network sees."""

    view: FilmView

    def read(self, film: Film) -> Seen:
        """The film as `view` shows it; a file that is too large is not opened."""
        assert film.path is not None
        if film.path.exists() and film.path.stat().st_size > MAX_BYTES:
            raise BadFilmError("too_large", f"more than {MAX_BYTES // 2**20} MiB")
        pixels = read_grey(film.path)
        return Seen(self.view(pixels), (pixels.shape[0], pixels.shape[1]))


def list_images(images: Path, skip: Path | None = None) -> Listing:
    """Every file below a folder but those of `skip`, or the one file; hidden ones are left out.

    The files of a folder come before those of the folders in it. Raises FileNotFoundError where there is nothing.
    """
    if images.is_file():
        return Listing({images.name: images}) if is_text(images.name) else Listing(refusals=[unsafe(images.name)])
    if not images.is_dir():
        raise FileNotFoundError("no such folder or file")
    listing = list_files(images, lambda _: True, skip=skip)
    listing.files = dict(sorted(listing.files.items(), key=lambda item: walk_order(item[0])))
    return listing


def walk_order(name: str) -> list[tuple[bool, str]]:
    """What sorts paths so that the files of a folder come before those of the folders in it."""
    *folders, file = name.split("/")
    return [*((True, folder) for folder in folders), (False, file)]


def batches_of(films: Sequence[Film], pool: DecodingPool[Seen], size: int) -> Iterator[Batch]:
    """The films as batches of `size` images, in their order; the files of a batch are known by the first of it."""
    images: list[tuple[str, Seen]] = []
    refusals: list[Refusal] = []
    for place, (film, decoded) in enumerate(zip(films, pool.decode(films), strict=True), 1):
        if isinstance(decoded, Refusal):
            refusals.append(decoded)
        else:
            images.append((film.image_id, decoded))
        if len(images) == size or len(images) + len(refusals) == MOST_FILES or place == len(films):
            squares = [seen.square[None] for _, seen in images]
            shown = np.stack(squares) if squares else np.empty((0, 1, 0, 0), np.uint8)
            yield Batch([name for name, _ in images], shown, [seen.shape for _, seen in images], refusals)
            images, refusals = [], []
