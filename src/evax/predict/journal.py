"""What a folder of predictions holds so far, written as it comes, so that a command that was ended goes on."""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float32

from evax.config import ConfigError
from evax.data.atomic import replacing, sync, write_json
from evax.data.film import Refusal
from evax.runs.launch import held

FOLDER = ".predict"  # in the output
SETTINGS, RECORDS = "settings.json", "records"
FIX = "give another --output, or delete that folder"
BATCH = 1024  # records in a line of what is settled
# What is not the same, by the setting that differs
DIFFERENCES = {
    "kind": "of another kind",
    "images": "of other images ({})",
    "weights": "by other weights",
    "classes": "by other weights",
    "thresholds": "with other thresholds",
    "view": "at another size",
    "version": "by evax {}",
}
Vectors = Float32[np.ndarray, "N D"]


class Record(NamedTuple):
    """What became of a file of some size (bytes) and time of change (ns): a row of the table, or a refusal.

    `cells` are the row's cells behind the name, as text; empty where the file is refused. `mask` is the path of its
    mask in the output.
    """

    name: str
    size: int
    changed: int
    cells: tuple[str, ...] = ()
    reason: str = ""
    detail: str = ""
    mask: str = ""

    @property
    def refusal(self) -> Refusal | None:
        """Why there is no row."""
        return Refusal(self.name, self.reason, self.detail) if self.reason else None


class Journal:
    """The records of an output folder, in a file that only grows: a line a batch, with a checksum.

    What a kill or a full disk left of a last line is dropped, and its files are done again. `records` are the last of
    each name. Embeddings stand in the lines until all is done, and then in their table alone. Used as a context;
    raises ConfigError where the folder holds predictions of another kind, or another process writes into it.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], tables: Sequence[str]) -> None:
        self.folder = output / FOLDER
        self.records: dict[str, Record] = {}
        self._lines: dict[str, tuple[int, int]] = {}  # the offset of the line with a name's embedding, and its place
        self._output, self._settings, self._tables = output, settings, tables
        self._path = self.folder / RECORDS
        self._file: BinaryIO | None = None

    def __enter__(self) -> "Journal":
        check_output(self._output, self._settings, self._tables)
        self._lock = held(self.folder, "writing predictions there")
        self._lock.__enter__()
        write_json(self.folder / SETTINGS, dict(self._settings))
        self._path.touch()
        self._file = self._path.open("r+b")
        self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        with suppress(OSError):  # a full disk, which was told
            self._file.close()
        self._lock.__exit__(kind, error, trace)

    def add(self, records: Sequence[Record], vectors: Vectors | None = None) -> None:
        """Write what became of a batch, to disk; `vectors` are the embeddings of those that have a row, in order."""
        assert self._file is not None
        offset = self._file.tell()
        self._file.write(_line(records, vectors))
        self._file.flush()
        sync(self._path)
        self._know(records, offset, has_vectors=vectors is not None)

    def forget(self, names: Iterable[str]) -> None:
        """Take files for not done, because something of theirs is lost."""
        for name in names:
            del self.records[name]
            self._lines.pop(name, None)

    @property
    def embedded(self) -> KeysView[str]:
        """The images whose embeddings stand in the journal."""
        return self._lines.keys()

    def vectors(self, names: Iterable[str]) -> Iterator[Float32[np.ndarray, " D"] | None]:
        """The embeddings of images; None of one whose embedding is in the table."""
        last, found = -1, np.empty((0, 0), np.float32)
        with self._path.open("rb") as file:
            for name in names:
                offset, place = self._lines.get(name, (-1, 0))
                if offset not in (-1, last):
                    file.seek(offset)
                    last, found = offset, _parse(file.readline())[1]
                yield found[place] if offset >= 0 else None

    def settle(self) -> None:
        """Drop the embeddings, which are in their table now, and what was written for files that changed later."""
        assert self._file is not None
        with replacing(self._path) as temporary:
            records = list(self.records.values())
            starts = range(0, len(records), BATCH)
            temporary.write_bytes(b"".join(_line(records[start : start + BATCH], None) for start in starts))
        self._file.close()
        self._file = self._path.open("r+b")
        self._file.seek(0, 2)
        self._lines.clear()

    def _read(self) -> None:
        assert self._file is not None
        offset = 0
        for line in self._file:
            try:
                records, vectors = _parse(line)
            except ValueError:
                break
            self._know(records, offset, has_vectors=len(vectors) > 0)
            offset += len(line)
        self._file.seek(offset)
        self._file.truncate()

    def _know(self, records: Sequence[Record], offset: int, *, has_vectors: bool) -> None:
        self.records |= {record.name: record for record in records}
        rows = [record.name for record in records if not record.reason]
        for place, name in enumerate(rows):
            self._lines.pop(name, None)
            if has_vectors:
                self._lines[name] = offset, place


def check_output(output: Path, settings: Mapping[str, Any], tables: Sequence[str]) -> None:
    """Raise ConfigError where a folder holds predictions that these would mix with, or tables of nobody knows whom."""
    path = output / FOLDER / SETTINGS
    if not path.is_file():
        present = next((name for name in tables if (output / name).exists()), None)
        if present is not None:
            raise ConfigError(f"--output {output}: there is a {present} of another origin; {FIX}")
        return
    try:
        there = dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        raise ConfigError(f"--output {output}: {path} is damaged; {FIX}") from None
    key = next((key for key in DIFFERENCES if there.get(key) != settings.get(key)), None)
    if key is not None:
        how = DIFFERENCES[key].format(there.get(key))
        raise ConfigError(f"--output {output}: there are predictions {how}; {FIX}")


def _line(records: Sequence[Record], vectors: Vectors | None) -> bytes:
    told = json.dumps([list(record) for record in records], separators=(",", ":"))
    encoded = base64.b64encode(vectors.tobytes()).decode() if vectors is not None else ""
    content = f"{told}\t{encoded}".encode()
    return b"%08x\t%b\n" % (zlib.crc32(content), content)


def _parse(line: bytes) -> tuple[list[Record], Vectors]:
    """The records and embeddings of a line; ValueError for one that is not whole."""
    checksum, _, content = line.removesuffix(b"\n").partition(b"\t")
    if not line.endswith(b"\n") or int(checksum, 16) != zlib.crc32(content):
        raise ValueError("not whole")
    told, _, encoded = content.partition(b"\t")
    records = [Record._make([*record[:3], tuple(record[3]), *record[4:]]) for record in json.loads(told)]
    num_rows = sum(not record.reason for record in records) if encoded else 0
    return records, np.frombuffer(base64.b64decode(encoded), np.float32).reshape(num_rows, -1 if num_rows else 0)
