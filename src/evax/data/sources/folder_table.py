"""A user's own table of images: its columns under any names, its rows as films."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import unquote

from evax.data.film import Film, Refusal
from evax.data.names import Name, as_name, as_names
from evax.data.sources.label_words import label_of
from evax.data.sources.table_text import Row, Table, not_utf8
from evax.data.sources.tables import years
from evax.hints import nearest

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
NAME_EACH = "give each unknown one a name of its own"
SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
# What programs and people write where they know nothing; in a column of labels some of it may mean "negative"
BLANK = frozenset(
    (*("nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "nil", "unknown"), *("-", "--", "?", "."))
)
NO_PATIENT = BLANK | {"", "n.a", "n.a.", "-1", "-1.0", "missing"}  # of patients; elsewhere these may mean something
MOST_OF_ONE, SHARE_OF_ONE = 20, 0.1  # images of one patient; more than both may be all whose patient is unknown
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)  # what Excel makes of long numbers
_NUMBER = re.compile(r"(?P<pack>\w+:)?0*(?P<number>\d+)(?:[.,]0+)?")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table are called; null is a column that the table does not have.

    `image` holds names of images: from the folder, or a file name alone where there is one of that name, with or
    without its ending. `labels` are the findings, in their order: 1, 0, -1 (uncertain) or nothing; one alone need not
    be a list. Numbers are taken as text. Raises ValueError for what is no name, and for two labels of one name.
    """

    image: Name = "image"
    patient: Name | None = None
    study: Name | None = None
    split: Name | None = None
    view: Name | None = None
    sex: Name | None = None
    age: Name | None = None
    labels: Sequence[Name] | Name = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            key, value = f"source.columns.{field.name}", getattr(self, field.name)
            if field.name == "labels":
                object.__setattr__(self, field.name, as_names(key, value))
            elif value is not None or field.name == "image":
                object.__setattr__(self, field.name, as_name(key, value))
        twice = sorted(name for name, count in Counter(self.labels).items() if count > 1)
        if twice:
            raise ValueError(f"source.columns.labels has {twice[0]} twice")

    def named(self) -> list[tuple[str, str]]:
        """Pairs of configuration key and column of all columns that there are."""
        pairs = [(field.name, getattr(self, field.name)) for field in fields(self) if field.name != "labels"]
        pairs += [("labels", name) for name in self.labels]
        return [(key, name) for key, name in pairs if name is not None]


def read_table(path: Path, columns: Columns, encoding: str | None = None) -> Iterator[dict[str, str] | Refusal]:
    """The rows of a table by column, "" where nothing is known, and the lines that do not have a cell for each.

    Raises ValueError for what is no table (`Table`), and for a column that is absent or there twice.
    """
    table = Table(path, [name for _, name in columns.named()], encoding)
    _check_header(table, columns)
    places = {name: table.names.index(name) for _, name in columns.named()}
    for row in table.rows():
        if fault := _fault(row, len(table.names), places.values()):
            yield Refusal(f"{path.name} line {row.line}", "bad_row", fault)
            continue
        cells = {name: row.cells[place] for name, place in places.items()}
        if (odd := not_utf8([*cells.values()])) is not None:
            raise ValueError(
                f"{path}, line {row.line}: {odd.encode(errors='surrogateescape')!r} is not UTF-8; save the table as "
                "CSV UTF-8, or say what it is: source.encoding=cp1252 (Excel in Western Europe), gbk, ..."
            )
        known = {n: "" if n not in columns.labels and cell.lower() in BLANK else cell for n, cell in cells.items()}
        if known[columns.image]:
            yield known
        else:
            yield Refusal(f"{path.name} line {row.line}", "bad_row", f"column {columns.image} names no image")


def _check_header(table: Table, columns: Columns) -> None:
    for key, name in columns.named():
        if name not in table.names:
            alone = "; separate columns by commas, semicolons, tabs or bars" if len(table.names) == 1 else ""
            raise ValueError(
                f"source.columns.{key}={name}: no such column in {table.path}; {nearest(name, table.names)}{alone}"
            )
        if table.names.count(name) > 1:
            raise ValueError(
                f"source.columns.{key}={name}: {table.path} has {table.names.count(name)} columns of that name; "
                "rename or remove all but one"
            )


def _fault(row: Row, num_columns: int, places: Collection[int]) -> str | None:
    """Why a row does not fit its table; blank cells at its end may be too many, or absent from columns not in use."""
    num_cells = max((number for number, cell in enumerate(row.cells, 1) if cell), default=0)
    if num_cells > num_columns or len(row.cells) <= max(places):
        return f"{len(row.cells)} cells, where the first row has {num_columns}: quote cells that hold the separator"
    return None


class Places:
    """The files of a folder (paths from it), by the names that a table may give them."""

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        self._roots = (root.absolute(), root.resolve())
        self._files = frozenset(files)
        self._exact: defaultdict[str, list[str]] = defaultdict(list)
        self._alike: defaultdict[str, list[str]] = defaultdict(list)
        for file in sorted(self._files):
            names = _names_of(file)
            for name in names:
                self._exact[name].append(file)
            for name in {_folded(name) for name in names}:
                self._alike[name].append(file)

    def find(self, name: str) -> str | Refusal:
        """The file that a table means, whatever the case of its letters where no file has just that name."""
        if name in self._files:
            return name
        path = _normal(_without_scheme(name).replace("\\", "/"))
        if address := re.match(r"[A-Za-z][\w+.-]+:/", path):
            return Refusal(name, "missing", f"an address ({address[0]}/): write the image's path from raw_dir")
        if is_absolute(path):
            inner = self._within(Path(path))
            if inner is None:
                return Refusal(name, "missing", "a path outside raw_dir: write it from raw_dir, or name a folder above")
            path = inner
        found = [path] if path in self._files else self._exact.get(path) or self._alike.get(_folded(path), [])
        if len(found) == 1:
            return found[0]
        if found:
            return Refusal(path, "ambiguous_name", f"{len(found)} files have this name: write their folder before it")
        return Refusal(path, "missing", "a row without its file")

    def _within(self, path: Path) -> str | None:
        """An absolute path from the folder, also where it goes through links."""
        ways = (path, path.parent.resolve() / path.name)
        return next((way.relative_to(r).as_posix() for way in ways for r in self._roots if way.is_relative_to(r)), None)


def is_absolute(path: str) -> bool:
    """Whether a path with slashes begins at a root, of Windows too."""
    return path.startswith("/") or re.match(r"[A-Za-z]:/", path) is not None


def _without_scheme(name: str) -> str:
    """The path of a file:// address, and any other name as it is."""
    match = re.match(r"file:(?://(?:localhost(?=/))?)?", name, re.IGNORECASE)
    if match is None:
        return name
    path = unquote(name[match.end() :])
    return path[1:] if re.match(r"/[A-Za-z]:/", path) else path


def _normal(path: str) -> str:
    """A path without steps that lead nowhere; one that leads out of its folder stays as it is."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == ".." and steps and steps[-1] not in ("..", ""):
            steps.pop()
        elif step != "." and (step or not steps):
            steps.append(step)
    return "/".join(steps)


def _names_of(file: str) -> set[str]:
    """A file's path and name, with and without ending; the last numbers of an UID are none."""
    base = re.sub(r"\.[A-Za-z]\w*$", "", file)
    return {file, base, file.rpartition("/")[2], base.rpartition("/")[2]}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def film_of(
    row: Mapping[str, str], name: str, columns: Columns, patient: str, words: Mapping[str, int]
) -> Film | Refusal:
    """The film of a row, without its path; `patient` is for a table that does not tell, `words` are of labels."""
    cells = {key: row[column] for key, column in columns.named() if key != "labels"}
    labels = {column: label_of(row[column], words) for column in columns.labels}
    unknown = next((column for column, label in labels.items() if label is None), None)
    if unknown is not None:
        return Refusal(name, "bad_label", f"column {unknown} has {row[unknown]!r}, not 1, 0, -1 or nothing")
    split = cells.get("split", "").lower()
    if split and split not in SPLITS:
        return Refusal(name, "bad_split", f"column {columns.split} has {split!r}, not train, val or test")
    if columns.patient is not None and cells["patient"].lower() in NO_PATIENT:
        has = f"has {cells['patient']!r}, which" if cells["patient"] else ""
        why = " ".join(filter(None, (f"column {columns.patient}", has, "names no patient")))
        return Refusal(name, "bad_row", f"{why}; {NAME_EACH}")
    if _ROUNDED.fullmatch(cells.get("patient", "")):
        return Refusal(
            name,
            "bad_row",
            f"column {columns.patient} has {cells['patient']}, a number rounded by Excel: keep it as text",
        )
    return Film(
        image_id=name,
        patient_id=cells.get("patient", patient),
        labels=tuple(label for label in labels.values() if label is not None),
        splits={"official": SPLITS[split]} if split else {},
        study_id=cells.get("study", ""),
        view=cells.get("view", "").upper(),
        sex=SEXES.get(cells.get("sex", "").lower(), ""),
        age=years(cells["age"].replace(",", ".")) if "age" in cells else math.nan,
    )


def crowded(column: str, patients: Iterable[str]) -> str:
    """What to say of a patient with so many of the images that they may be all unknown ones; "" where none has."""
    counts = Counter(patients)
    for patient, count in counts.most_common(1):
        if count > max(MOST_OF_ONE, SHARE_OF_ONE * counts.total()):
            return (
                f"column {column}: {patient} has {count} of {counts.total()} images; if that means unknown, {NAME_EACH}"
            )
    return ""


def check_spellings(table: Path, column: str, patients: Iterable[str]) -> None:
    """Raise ValueError where one number is written in two ways, such as 12 and 12.0: who is meant cannot be known."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for patient in patients:
        match = _NUMBER.fullmatch(patient)
        key = f"{match['pack'] or ''}{match['number']}" if match else unicodedata.normalize("NFC", patient)
        spellings[key].add(patient)
    several = next((sorted(names) for names in spellings.values() if len(names) > 1), None)
    if several:
        raise ValueError(
            f"{table}: column {column} has {several[0]!r} and {several[1]!r}, one patient or two; write every patient "
            "in one way (letters before a number, P12, keep it as it is)"
        )
