"""The tables of ChestX-ray14: data entries, boxes and split lists."""

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from evax.data.film import Box, Refusal
from evax.data.findings import CXR14
from evax.data.sources.table_text import read_text
from evax.data.sources.tables import read_rows, years
from evax.data.splits import IN_TWO_SPLITS, patient_draw

BOXES = "BBox_List_2017.csv"
EVA_X_LISTS = {split: f"{split}_official.txt" for split in ("train", "val", "test")}
EVA_X_SHA256 = {  # the same files as Medical MAE's
    "train_official.txt": "60cc170f312a2301e5c9a8860fe36437e0ee632b4da8a890b855a669fe3069f4",
    "val_official.txt": "4ea551a628d287bbe19f474408975acfbee98437245956531101cbdab5c4c090",
    "test_official.txt": "7fa6a1865c16b416ed0cd96954fbbb3945f8ea20c39c22521e068859cda4c7cf",
}
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
DOWNLOAD = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)
NO_FINDING = "No Finding"
FINDING_OF_BOX = {"Infiltrate": "Infiltration"}
BOX_PIXELS = 1024  # boxes are in pixels of the published 1024 x 1024 files
VALIDATION_SHARE = 11212 / 86524  # of the official train_val films, as in the lists of EVA-X
SALT = "evax/cxr14/official"

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.png", re.IGNORECASE)


class Entry(NamedTuple):
    """A row of the data table."""

    image_id: str
    findings: frozenset[str]
    follow_up: str
    patient_id: str
    age: float
    sex: str
    view: str


def read_entries(path: Path, refusals: list[Refusal]) -> dict[str, Entry]:
    """The sound rows of a data table by image name; the others are added to `refusals`."""
    entries: dict[str, Entry] = {}
    for row in read_rows(path, COLUMNS, DOWNLOAD):
        name = row[COLUMNS[0]]
        entry = _entry(*row.values())
        if isinstance(entry, Refusal):
            refusals.append(entry)
        elif name in entries:
            detail = "a repetition" if entry == entries[name] else "differs from the first row of that name"
            refusals.append(Refusal(name, "duplicate_row", detail))
        else:
            entries[name] = entry
    return entries


def read_boxes(path: Path, entries: Container[str], refusals: list[Refusal]) -> dict[str, tuple[Box, ...]]:
    """The boxes of the films in `entries`, in unit coordinates; bad ones are added to `refusals`."""
    boxes: defaultdict[str, tuple[Box, ...]] = defaultdict(tuple)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        # the header is "Image Index,Finding Label,Bbox [x,y,w,h],,,": four numbers share one name
        for number, row in enumerate(csv.reader(file)):
            if number == 0 or not row or row[0] not in entries:
                continue
            try:
                boxes[row[0]] += (_box(row[1], *map(float, row[2:6])),)
            except (ValueError, TypeError, IndexError):
                refusals.append(Refusal(f"{row[0]} (box)", "bad_box", f"{BOXES} row {number}"))
    return boxes


def read_splits(
    raw_dir: Path, lists: Mapping[str, str], entries: dict[str, Entry], refusals: list[Refusal]
) -> dict[str, str]:
    """The split of each film in `entries`; a film on two lists is refused and leaves `entries`."""
    members: dict[str, str] = {}
    for split, file in lists.items():
        for name in _listed(raw_dir / file):
            if name in entries and members.setdefault(name, split) != split:
                refusals.append(Refusal(name, IN_TWO_SPLITS, f"{members[name]} and {split}"))
                del entries[name], members[name]
    return members


def official_splits(raw_dir: Path, entries: dict[str, Entry], refusals: list[Refusal]) -> dict[str, str]:
    """The published test list, and train and val drawn from the published train_val list by patient."""
    members = read_splits(raw_dir, LISTS, entries, refusals)
    return {
        name: split if split == "test" else _train_or_val(entries[name].patient_id) for name, split in members.items()
    }


def check_eva_x_list(path: Path) -> None:
    """Refuse a list under the name of one of EVA-X's that is not it; the ends of lines may differ."""
    found = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    if found != EVA_X_SHA256[path.name]:
        raise ValueError(
            f"{path} is not EVA-X's list: its sha256 is {found[:12]}..., not {EVA_X_SHA256[path.name][:12]}...; get it "
            "again, or remove the three *_official.txt (lists of your own are splits/train.txt, val.txt and test.txt)"
        )


def _train_or_val(patient_id: str) -> str:
    return "val" if patient_draw(SALT, patient_id) < VALIDATION_SHARE else "train"


def _entry(name: str, labels: str, follow_up: str, patient: str, age: str, sex: str, view: str) -> Entry | Refusal:
    if not _SAFE_NAME.fullmatch(name):
        return Refusal(name, "unsafe_name", "not a plain PNG file name")
    if not patient.isascii() or not patient.isdigit():
        return Refusal(name, "bad_row", "no patient number")
    findings = frozenset(labels.split("|"))
    if findings == {NO_FINDING}:
        findings = frozenset()
    unknown = sorted(findings - set(CXR14))
    if unknown:
        return Refusal(name, "unknown_finding", "|".join(unknown))
    return Entry(name, findings, follow_up, str(int(patient)), years(age), sex, view)


def _box(label: str, x: float, y: float, width: float, height: float) -> Box:
    finding = FINDING_OF_BOX.get(label, label)
    if finding not in CXR14:
        raise ValueError(f"unknown finding {finding}")
    left, right = (min(max(side / BOX_PIXELS, 0.0), 1.0) for side in (x, x + width))
    top, bottom = (min(max(side / BOX_PIXELS, 0.0), 1.0) for side in (y, y + height))
    if not (right > left and bottom > top):
        raise ValueError("an empty box")
    return Box(finding, left, top, right - left, bottom - top)


def _listed(path: Path) -> Iterator[str]:
    """The first word of each line: the published lists hold names, the sample's also labels."""
    for line in read_text(path).splitlines():
        if line.strip():
            yield line.split()[0]
