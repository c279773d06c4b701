"""Read W&B's offline file: a LevelDB log of protobuf records."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, FILE_HEADER = 32768, 7  # bytes
FULL, LAST = 1, 4


class HostedRun(NamedTuple):
    """What an offline file would upload."""

    run: Any  # id, group, job type, tags
    config: dict[str, Any]
    history: list[dict[str, Any]]
    axes: dict[str, str]  # metric or pattern -> its axis


def read_offline(file: Path) -> HostedRun:
    """Everything that a test asks about."""
    run: Any = None
    config: dict[str, Any] = {}
    history, axes = [], {}
    for record in records(file.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            items = record.history.item
            history.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
        elif kind == "metric":
            axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    return HostedRun(run, config, history, axes)


def records(content: bytes) -> Iterator[Record]:
    """The protobuf records, joined over blocks."""
    place, parts = FILE_HEADER, b""
    while place + 7 <= len(content):
        left = BLOCK - place % BLOCK
        if left < 7:  # a header never crosses blocks
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""
