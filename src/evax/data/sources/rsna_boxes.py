"""The table of boxes of the RSNA Pneumonia Detection Challenge."""

import math
from collections.abc import Mapping
from pathlib import Path

from evax.data.film import Box, Refusal
from evax.data.sources.tables import read_rows

DOWNLOAD = "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data"
COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
FINDING = "Pneumonia"
SIDE = 1024  # boxes are in pixels of the published 1024 x 1024 films


def read_boxes(path: Path, refusals: list[Refusal]) -> dict[str, tuple[Box, ...]]:
    """The boxes of each film in unit coordinates, in the order of the table; a film with a bad row is refused."""
    films: dict[str, list[Box]] = {}
    bad: dict[str, Refusal] = {}
    for number, row in enumerate(read_rows(path, COLUMNS, DOWNLOAD), 1):
        name = row["patientId"]
        boxes = films.setdefault(name, [])
        box = _box(row)
        if isinstance(box, str):
            bad.setdefault(name, Refusal(name, box, f"{path.name} row {number}"))
        elif box is not None:
            if box in boxes:
                refusals.append(Refusal(f"{name} (box)", "duplicate_row", f"{path.name} row {number}"))
                boxes.remove(box)  # the last row stays the last
            boxes.append(box)
    refusals += bad.values()
    return {name: tuple(boxes) for name, boxes in films.items() if name not in bad}


def _box(row: Mapping[str, str]) -> Box | str | None:
    """The box of a row; nothing of a film without one, and of others the reason why the row is refused."""
    sides = [row[side] for side in COLUMNS[1:5]]
    if row["Target"] not in ("0", "1"):
        return "bad_label"
    if row["Target"] == "0":
        return "bad_label" if any(sides) else None
    try:
        left, top, width, height = (float(side) for side in sides)
    except ValueError:
        return "bad_box"
    ends = (left, top, left + width, top + height)
    if not all(map(math.isfinite, ends)) or min(left, top) < 0 or max(ends) > SIDE or not (width > 0 and height > 0):
        return "bad_box"
    return Box(FINDING, left / SIDE, top / SIDE, width / SIDE, height / SIDE)
