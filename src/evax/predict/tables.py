"""What is known of every file of a folder, as tables that grow while it is read."""

import csv
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from evax.data.atomic import replacing
from evax.data.film import Refusal
from evax.predict.journal import Record

PROBABILITIES, EMBEDDINGS = "probabilities.csv", "embeddings.parquet"  # of a classifier
AREAS = "areas.csv"  # of a segmenter
QUARANTINE = "quarantine.csv"
GROUP = 256  # embeddings that are written at once


class Tables:
    """Two tables in a folder: a row an image, and a row a file that is none."""

    def __init__(self, folder: Path, name: str, columns: Sequence[str]) -> None:
        self._paths = folder / name, folder / QUARANTINE
        self._headers = ["image", *columns], ["image", "reason", "detail"]

    def write(self, entries: Iterable[Record | Refusal]) -> None:
        """Write both anew, each at once."""
        with ExitStack() as stack:
            self._write([stack.enter_context(replacing(path)) for path in self._paths], "w", entries)

    def extend(self, records: Iterable[Record]) -> None:
        """Write more rows below those that are there."""
        self._write(self._paths, "a", records)

    def _write(self, paths: Sequence[Path], mode: str, entries: Iterable[Record | Refusal]) -> None:
        with ExitStack() as stack:
            rows, refusals = (csv.writer(stack.enter_context(_opened(path, mode))) for path in paths)
            if mode == "w":
                rows.writerow(self._headers[0])
                refusals.writerow(self._headers[1])
            for entry in entries:
                refusal = entry.refusal if isinstance(entry, Record) else entry
                if refusal is not None:
                    refusals.writerow(refusal)
                elif isinstance(entry, Record):
                    rows.writerow([entry.name, *entry.cells])


def _opened(path: Path, mode: str) -> IO[str]:
    """A table as text; the detail of a refusal may quote a name that is not UTF-8."""
    return path.open(mode, newline="", encoding="utf-8", errors="backslashreplace")


def write_embeddings(
    path: Path, names: Sequence[str], vectors: Iterable[Float32[np.ndarray, " D"] | None], width: int
) -> None:
    """Write the table of embeddings; those that are None are taken from the table that is there."""
    schema = pa.schema([("image", pa.string()), ("embedding", pa.list_(pa.float32(), width))])
    former = {name: row for row, name in enumerate(embedded(path))}
    table = read_embeddings(path, width) if former else np.empty((0, width), np.float32)
    pairs = zip(names, vectors, strict=True)
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,  # Arrow opens no name that is not UTF-8
        pq.ParquetWriter(file, schema) as writer,
    ):
        while part := list(islice(pairs, GROUP)):
            rows = np.stack([table[former[name]] if vector is None else vector for name, vector in part])
            flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), pa.float32()), width)
            writer.write_table(pa.Table.from_arrays([pa.array([name for name, _ in part]), flat], schema=schema))


def embedded(path: Path) -> list[str]:
    """The images whose embeddings are in a table; none where it is absent or damaged."""
    try:
        with path.open("rb") as file:
            names: list[str] = pq.read_table(file, columns=["image"])["image"].to_pylist()
            return names
    except (OSError, pa.ArrowException, KeyError):
        return []


def read_embeddings(path: Path, width: int) -> Float32[np.ndarray, "N D"]:
    """The embeddings of a table."""
    with path.open("rb") as file:
        chunks = pq.read_table(file, columns=["embedding"])["embedding"].chunks
    return np.concatenate([chunk.flatten().to_numpy() for chunk in chunks]).reshape(-1, width)
