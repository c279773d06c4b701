"""What W&B's local files hold of a run: a LevelDB log of protobuf records.

W&B keeps up to 15 s of rows in memory, and a killed process loses them; only the file says where a resume goes on.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK, FILE_HEADER, PART_HEADER = 32768, 7, 7  # bytes
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # a record in one part, or in several


class HostedRow(NamedTuple):
    """A step, and the metrics that W&B has of it."""

    step: int = 0
    metrics: frozenset[str] = frozenset()


def newest_row(run_dir: Path, run_id: str) -> HostedRow:
    """The last row in the local files of a run; step 0 where there is none."""
    rows = (_last_row(file.read_bytes()) for file in run_dir.glob(f"wandb/*run-*-{run_id}/run-{run_id}.wandb"))
    return max(rows, key=lambda row: row.step, default=HostedRow())


def records(content: bytes, start: int = 0) -> Iterator[Any]:
    """The records that begin at or after `start`, a multiple of BLOCK; a torn end is left out."""
    from wandb.proto.wandb_internal_pb2 import Record  # slow to import, and only wanted here

    for whole in _joined(content, start):
        record = Record()
        record.ParseFromString(whole)
        yield record


def _last_row(content: bytes) -> HostedRow:
    for start in reversed(range(0, len(content), BLOCK)):  # from the end: a file may hold days
        rows = [_row(record) for record in records(content, start) if record.WhichOneof("record_type") == "history"]
        if rows:
            return rows[-1]
    return HostedRow()


def _row(record: Any) -> HostedRow:
    values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
    return HostedRow(int(values.pop("_step")), frozenset(values))


def _joined(content: bytes, start: int) -> Iterator[bytes]:
    place = start or FILE_HEADER
    parts: bytes | None = None  # None: between records, or inside one that began before `start`
    while place + PART_HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < PART_HEADER:  # a header never crosses blocks
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + PART_HEADER])
        place += PART_HEADER + length
        if place > len(content) or kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        if kind in (FULL, FIRST):
            parts = b""
        if parts is not None:
            parts += content[place - length : place]
            if kind in (FULL, LAST):
                yield parts
                parts = None
