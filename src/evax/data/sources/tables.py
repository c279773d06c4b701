"""What the tables of official downloads have in common."""

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from evax.data.film import Refusal
from evax.data.labels import ABSENT, NOT_MENTIONED, PRESENT, UNCERTAIN

LABELS = {
    **dict.fromkeys(("1.0", "1"), PRESENT),
    **dict.fromkeys(("0.0", "0"), ABSENT),
    **dict.fromkeys(("-1.0", "-1"), UNCERTAIN),
    "": NOT_MENTIONED,
}
FORMER_NAMES = {"Lung Opacity": "Airspace Opacity"}  # in first editions of CheXpert's labeller


def read_rows(
    path: Path, columns: Sequence[str], download: str, aliases: Mapping[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """The wanted columns of a .csv or .csv.gz, row by row, as text; an absent value is "".

    `aliases` gives the former name of a column. Raises ValueError where a column is absent or the file is damaged.
    """
    try:
        with _opened(path) as file:
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


def digest_of(folder: Path, names: Iterable[str], settings: str = "") -> str:
    """The sha256 of tables and settings."""
    digest = hashlib.sha256(settings.encode())
    for name in names:
        content = (folder / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def once(refusals: Iterable[Refusal]) -> list[Refusal]:
    """The first refusal of each item."""
    first: dict[str, Refusal] = {}
    for refusal in refusals:
        first.setdefault(refusal.item, refusal)
    return list(first.values())


def _opened(path: Path) -> io.TextIOWrapper:
    content = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115, closed with the wrapper
    return io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace", newline="")
