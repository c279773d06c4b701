"""The index of a pack: one row a film, as an Arrow table."""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evax.data.film import Box, Film
from evax.data.framing import Fit, fit_boxes, frame_film
from evax.data.shards import Row

BOXES = pa.list_(
    pa.struct([("finding", pa.string()), *((side, pa.float64()) for side in ("x", "y", "width", "height"))])
)
TEXTS = ("image_id", "patient_id", "study_id", "view", "sex")


def label_column(finding: str) -> str:
    """The column of a finding's label (1, 0, -1 or -2)."""
    return f"label.{finding}"


def split_column(scheme: str) -> str:
    """The column of a scheme's split ("train", "val", "test", or "" for a film outside it)."""
    return f"split.{scheme}"


def schemes_of(films: Sequence[Film]) -> list[str]:
    """The names of all schemes that put a film somewhere."""
    return sorted({scheme for film in films for scheme in film.splits})


def build_index(films: Sequence[Film], rows: Sequence[Row], findings: Sequence[str], size: int, fit: Fit) -> pa.Table:
    """The table of the films in a pack and their rows; boxes in unit coordinates of the frame."""
    labels = np.array([film.labels for film in films], np.int8).reshape(len(films), len(findings))
    boxes = [
        [box._asdict() for box in _framed_boxes(film.boxes, row, size, fit)]
        for film, row in zip(films, rows, strict=True)
    ]
    columns = {
        **{name: _strings([getattr(film, name) for film in films]) for name in TEXTS},
        "age": pa.array([film.age for film in films], pa.float32()),
        **{
            split_column(scheme): _strings([film.splits.get(scheme, "") for film in films])
            for scheme in schemes_of(films)
        },
        **{label_column(finding): pa.array(labels[:, number]) for number, finding in enumerate(findings)},
        "boxes": pa.array(boxes, BOXES),
        "file_sha256": _strings([row.file_sha256 for row in rows]),
        "pixel_sha256": _strings([row.pixel_sha256 for row in rows]),
        "width": pa.array([row.width for row in rows], pa.int32()),
        "height": pa.array([row.height for row in rows], pa.int32()),
    }
    return pa.table(columns)


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as a parquet file; equal tables give equal bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _framed_boxes(boxes: Sequence[Box], row: Row, size: int, fit: Fit) -> tuple[Box, ...]:
    return fit_boxes(boxes, frame_film(row.width, row.height, size, fit)) if boxes else ()


def _strings(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string())
