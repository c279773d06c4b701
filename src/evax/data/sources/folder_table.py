"""A user's own table of films: its columns under any names, its rows as films."""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

from evax.data.film import Film, Refusal
from evax.data.sources.tables import LABELS, opened, years
from evax.hints import nearest

DELIMITERS = ",;\t"
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
WORDS = {**LABELS, "true": 1, "false": 0, "yes": 1, "no": 0, "nan": LABELS[""], "na": LABELS[""]}


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table are called; null is a column that the table does not have.

    `image` holds names of films: from the folder, or a file name alone where there is one of that name, with or
    without its ending. `labels` are the findings, in their order: 1, 0, -1 (uncertain) or nothing.
    """

    image: str = "image"
    patient: str | None = None
    study: str | None = None
    split: str | None = None
    view: str | None = None
    sex: str | None = None
    age: str | None = None
    labels: Sequence[str] = ()

    def named(self) -> list[tuple[str, str]]:
        """Pairs of configuration key and column of all columns that there are."""
        pairs = [(field.name, getattr(self, field.name)) for field in fields(self) if field.name != "labels"]
        pairs += [("labels", name) for name in self.labels]
        return [(key, name) for key, name in pairs if name is not None]


def read_table(path: Path, columns: Columns) -> Iterator[dict[str, str]]:
    """The rows of a .csv or .csv.gz, separated by comma, semicolon or tab; ValueError names an absent column."""
    with opened(path) as file:
        first = file.readline()
        names = next(csv.reader([first], delimiter=_delimiter(first)), [])
        for key, name in columns.named():
            if name not in names:
                raise ValueError(f"source.columns.{key}={name}: no such column in {path}; {nearest(name, names)}")
        for row in csv.DictReader(file, names, delimiter=_delimiter(first)):
            yield {name: (row[name] or "").strip() for _, name in columns.named()}


def places_of(files: Iterable[str]) -> Mapping[str, list[str]]:
    """The files (paths from the folder) that a table may mean by a name."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        path = PurePosixPath(file)
        for name in sorted({file, str(path.with_suffix("")), path.name, path.stem}):
            places[name].append(file)
    return places


def find(name: str, files: Mapping[str, Path], places: Mapping[str, list[str]]) -> str | Refusal:
    """The file that a table means."""
    name = name.replace("\\", "/").removeprefix("./")
    found = [name] if name in files else places.get(name, [])
    if len(found) == 1:
        return found[0]
    if found:
        return Refusal(name, "ambiguous_name", f"{len(found)} files have this name: write their folder before it")
    return Refusal(name, "missing", "a row without its file")


def film_of(row: Mapping[str, str], name: str, columns: Columns, patient: str) -> Film | Refusal:
    """The film of a row, without its path; `patient` is for a table that does not tell."""
    cells = {key: row[column] for key, column in columns.named() if key != "labels"}
    words = {column: row[column] for column in columns.labels}
    unknown = next((column for column, word in words.items() if word.lower() not in WORDS), None)
    if unknown is not None:
        return Refusal(name, "bad_label", f"column {unknown} has {words[unknown]!r}, not 1, 0, -1 or nothing")
    split = cells.get("split", "").lower()
    if split and split not in SPLITS:
        return Refusal(name, "bad_split", f"column {columns.split} has {split!r}, not train, val or test")
    if columns.patient is not None and not cells["patient"]:
        return Refusal(name, "bad_row", f"column {columns.patient} is empty")
    return Film(
        image_id=name,
        patient_id=cells.get("patient", patient),
        labels=tuple(WORDS[word.lower()] for word in words.values()),
        splits={"official": SPLITS[split]} if split else {},
        study_id=cells.get("study", ""),
        view=cells.get("view", "").upper(),
        sex=SEXES.get(cells.get("sex", "").lower(), ""),
        age=years(cells["age"]) if "age" in cells else math.nan,
    )


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)
