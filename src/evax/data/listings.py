"""The lists beside a pack: what was refused, what was drawn, what is there twice, and what looks as if it were."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from evax.data.atomic import write_atomically
from evax.data.files import on_one_line
from evax.data.film import Film, Refusal
from evax.data.manifest import DUPLICATES, NEAR_DUPLICATES, QUARANTINE
from evax.data.shards import Row


def write_refusals(folder: Path, refusals: Iterable[Refusal]) -> None:
    """Write quarantine.csv."""
    _write_csv(folder / QUARANTINE, Refusal._fields, refusals)


def write_splits(folder: Path, films: Sequence[Film], schemes: Iterable[str]) -> None:
    """Write each split of `schemes` as a list, split-SCHEME-NAME.txt, an image id a line; earlier lists go."""
    for path in folder.glob("split-*.txt"):
        path.unlink()
    for scheme in schemes:
        members: defaultdict[str, list[str]] = defaultdict(list)
        for film in films:
            if scheme in film.splits:
                members[film.splits[scheme]].append(film.image_id)
        for split, names in members.items():
            _write_text(folder / f"split-{scheme}-{split}.txt", "".join(f"{on_one_line(name)}\n" for name in names))


def write_duplicates(folder: Path, films: Sequence[Film], rows: Sequence[Row]) -> int:
    """List the films that show the same picture as another; returns how many could go."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for film, row in zip(films, rows, strict=True):
        same[row.pixel_sha256].append(film.image_id)
    groups = [(digest, names) for digest, names in same.items() if len(names) > 1]
    lines = [(name, digest) for digest, names in groups for name in names]
    _write_csv(folder / DUPLICATES, ("image_id", "pixel_sha256"), lines)
    return sum(len(names) - 1 for _, names in groups)


def write_near_duplicates(
    folder: Path,
    pairs: Int[np.ndarray, "P 2"],
    bits: Int[np.ndarray, "P"],
    image_ids: Mapping[int, str],
    splits: Mapping[str, Mapping[int, str]],
) -> int:
    """List pairs of rows, with the splits of each scheme that they are in; returns how many pairs are in two splits.

    `image_ids` and, by scheme, `splits` are those of the rows; `bits` is how many fine bits of a pair differ.
    """
    lines, num_crossing = [], 0
    for (one, other), differing in zip(pairs.tolist(), bits.tolist(), strict=True):
        sides = {scheme: (of[one], of[other]) for scheme, of in splits.items()}
        num_crossing += any(a and b and a != b for a, b in sides.values())
        text = "; ".join(f"{scheme} {a or '-'}/{b or '-'}" for scheme, (a, b) in sides.items())
        lines.append((image_ids[one], image_ids[other], str(differing), text))
    _write_csv(folder / NEAR_DUPLICATES, ("image_id", "other_image_id", "differing_bits", "splits"), lines)
    return num_crossing


def _write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    # the writer leaves carriage returns unquoted, at which readers end the line
    writer.writerows([cell.replace("\r", "\\r") for cell in line] for line in lines)
    _write_text(path, buffer.getvalue())


def _write_text(path: Path, text: str) -> None:
    """File names may hold bytes that are no UTF-8."""
    write_atomically(path, text.encode(errors="backslashreplace"))
