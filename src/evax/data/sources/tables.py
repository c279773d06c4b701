"""What the tables of official downloads have in common."""

import csv
import gzip
import hashlib
import math
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evax.data.film import Film, Refusal
from evax.data.labels import ABSENT, NOT_MENTIONED, PRESENT, UNCERTAIN
from evax.data.sources.table_text import opened

LABELS = {
    **dict.fromkeys(("1.0", "1"), PRESENT),
    **dict.fromkeys(("0.0", "0"), ABSENT),
    **dict.fromkeys(("-1.0", "-1"), UNCERTAIN),
    "": NOT_MENTIONED,
}
MAX_AGE = 120.0
YEARS = {"Y": 1.0, "W": 7 / 365.25, "M": 1 / 12, "D": 1 / 365.25, "": 1.0}
FORMER_NAMES = {"Lung Opacity": "Airspace Opacity"}  # in first editions of CheXpert's labeller


def read_rows(
    path: Path, columns: Sequence[str], download: str, aliases: Mapping[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """The wanted columns of a .csv or .csv.gz, row by row, as text; an absent value is "".

    `aliases` gives the former name of a column. Raises ValueError where a column is absent or the file is damaged.
    """
    try:
        with opened(path) as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            names = {column: column if column in header else (aliases or {}).get(column, column) for column in columns}
            absent = [column for column, name in names.items() if name not in header]
            if absent:
                raise ValueError(f"{path} lacks the columns {', '.join(absent)}: download it again from {download}")
            for row in reader:
                yield {column: row[name] or "" for column, name in names.items()}
    except (EOFError, gzip.BadGzipFile, zlib.error, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}): download it again from {download}") from None


def read_labels(row: Mapping[str, str], findings: Sequence[str]) -> tuple[int, ...] | None:
    """1, 0, -1 (uncertain) or -2 (blank) per finding, as CheXpert's labeller writes them; None for other text."""
    labels = [LABELS.get(row[finding]) for finding in findings]
    known = tuple(label for label in labels if label is not None)
    return known if len(known) == len(labels) else None


def years(age: str) -> float:
    """Age in years: "58" or "58.5", or "058Y", "013M", "002D" as in DICOM; NaN when it cannot be right."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([YWMD]?)", age, re.ASCII)
    if match is None:
        return math.nan
    found = float(match[1]) * YEARS[match[2]]
    return found if found <= MAX_AGE else math.nan


def digest_of(folder: Path, files: Iterable[str | Path], settings: str = "") -> str:
    """The sha256 of files, by their names or as paths below the folder, and of settings."""
    digest = hashlib.sha256(settings.encode())
    for file in files:
        name = file.relative_to(folder).as_posix() if isinstance(file, Path) else file
        content = (folder / file).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def with_files(
    rows: Mapping[str, Film], paths: Mapping[str, Path], left_out: Collection[str]
) -> tuple[list[Film], list[Refusal]]:
    """The films of rows that have their file, and the rows and files that are alone; `left_out` files are no fault."""
    refusals = [Refusal(name, "missing", "a row without its file") for name in rows if name not in paths]
    unknown = sorted(paths.keys() - rows.keys() - set(left_out))
    refusals += [Refusal(name, "no_row", "a file without its row") for name in unknown]
    return [replace(film, path=paths[name]) for name, film in rows.items() if name in paths], refusals


def once(refusals: Iterable[Refusal]) -> list[Refusal]:
    """The first refusal of each item."""
    first: dict[str, Refusal] = {}
    for refusal in refusals:
        first.setdefault(refusal.item, refusal)
    return list(first.values())
