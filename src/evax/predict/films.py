"""The films of a folder, a block at a time, as a classifier sees them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from evax.data.decoding import DecodingPool, FilmDecoder
from evax.data.film import BadFilmError, Film, Refusal
from evax.data.film_view import FilmView
from evax.data.reading import read_grey

BLOCK = 256  # films that are held at once
MAX_BYTES = 2**29  # of a file; the largest detectors give some 40 million


class Block(NamedTuple):
    """Some films of a folder by their path in it, what the network sees of them, and the files that are no films.

    `shapes` are rows and columns of the films themselves.
    """

    names: list[str]
    squares: UInt8[np.ndarray, "N 1 S S"]
    refusals: list[Refusal]
    shapes: list[tuple[int, int]]

    @property
    def num_files(self) -> int:
        """Files that were tried."""
        return len(self.names) + len(self.refusals)


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


def files_below(folder: Path, skip: Path | None = None) -> Iterator[Path]:
    """Every file of a folder and of those in it, sorted; hidden ones and all of the folder `skip` are left out."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if is_wanted(Path(place) / name, skip))
        yield from (Path(place) / name for name in sorted(files) if not name.startswith("."))


def is_wanted(folder: Path, skip: Path | None) -> bool:
    """Whether a folder is to be looked into."""
    return not folder.name.startswith(".") and (skip is None or folder.resolve() != skip.resolve())


def blocks_of(folder: Path, files: Iterator[Path], pool: DecodingPool[Seen]) -> Iterator[Block]:
    """The files as blocks, in their order."""
    while part := list(islice(files, BLOCK)):
        films = [Film(path.relative_to(folder).as_posix(), "", (), path=path) for path in part]
        block = Block([], np.empty(0, np.uint8), [], [])
        squares = []
        for film, decoded in zip(films, pool.decode(films), strict=True):
            if isinstance(decoded, Refusal):
                block.refusals.append(decoded)
            else:
                block.names.append(film.image_id)
                block.shapes.append(decoded.shape)
                squares.append(decoded.square[None])
        yield block._replace(squares=np.stack(squares)) if squares else block
