"""The lists of COVIDx: a line per film, its words separated by spaces, which file names may hold too."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from evax.data.film import Refusal
from evax.data.sources.table_text import read_text

# Collections that are data sets of their own here, whose patients have the same names there.
SOURCE_OF_ORIGIN = {"nih": "cxr14"}

_ANY_LINE = re.compile(r"(\S+)\s+(.+?)\s+(\S+)\s+(\S+)")


class Entry(NamedTuple):
    """A line of a list: its patient (qualified by origin), file, class, and the collection it comes from."""

    patient_id: str
    file: str
    label: str
    origin: str


def read_list(path: Path, split: str, classes: Sequence[str], refusals: list[Refusal]) -> dict[str, Entry]:
    """The sound lines of a list by file; the others are added to `refusals`, as films of `split`."""
    entries: dict[str, Entry] = {}
    names = "|".join(map(re.escape, classes))
    # the first lists had no origin
    line_of_task = re.compile(rf"(?P<patient>\S+)\s+(?P<file>.+?)\s+(?P<label>{names})(?:\s+(?P<origin>\S+))?")
    for number, line in _lines(path):
        match = line_of_task.fullmatch(line)
        if match is None:
            refusals.append(_refused(line, split, f"{path.name} line {number}"))
            continue
        origin = match["origin"] or ""
        entry = Entry(_patient(match["patient"], origin), match["file"], match["label"], origin)
        if not _is_plain(entry.file):
            refusals.append(Refusal(entry.file, "unsafe_name", f"{path.name} line {number}: not a plain file name"))
        elif entry.file in entries:
            detail = "a repetition" if entry == entries[entry.file] else "differs from the first line of that name"
            refusals.append(Refusal(f"{split}/{entry.file}", "duplicate_row", f"{path.name} line {number}: {detail}"))
        else:
            entries[entry.file] = entry
    return entries


def named_files(path: Path) -> set[str]:
    """The files that a list of any task names."""
    matches = (_ANY_LINE.fullmatch(line) for _, line in _lines(path))
    return {match[2] for match in matches if match}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers and texts of the lines that hold something."""
    text = read_text(path)
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _refused(line: str, split: str, place: str) -> Refusal:
    """A line that names no class of the task: of another class, or of no known form."""
    match = _ANY_LINE.fullmatch(line)
    if match is None:
        return Refusal(place, "bad_row", "not patient, file, class and origin")
    return Refusal(f"{split}/{match[2]}", "bad_label", match[3])


def _patient(patient: str, origin: str) -> str:
    """A patient under a name that means the same in every pack."""
    source = SOURCE_OF_ORIGIN.get(origin, origin) or "covidx"
    is_numbered = source in SOURCE_OF_ORIGIN.values() and patient.isdecimal()
    return f"{source}:{int(patient) if is_numbered else patient}"


def _is_plain(name: str) -> bool:
    return "/" not in name and "\\" not in name and not name.startswith(".")
