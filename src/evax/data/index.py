"""The index of a pack: one row a film, as an Arrow table whose file is mapped, not read."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import UInt64

from evax.data.film import Box, Film
from evax.data.framing import Fit, fit_boxes, frame_film
from evax.data.likeness import COARSE_BYTES
from evax.data.links import digest_key, patient_key
from evax.data.shards import Row

BOXES = pa.list_(
    pa.struct([("finding", pa.string()), *((side, pa.float64()) for side in ("x", "y", "width", "height"))])
)
TEXTS = ("image_id", "study_id")
CODED = ("patient_id", "view", "sex")  # few values, stored once each: codes in their order
ORIGIN = "origin"  # of the films of a mixed data set; no column where no film has one
DIGEST = pa.binary(32)


def key_column(kind: str) -> str:
    """The column of the keys (`evax.data.links`) of "patient", "file" or "pixel"."""
    return f"{kind}_key"


def label_column(finding: str) -> str:
    """The column of a finding's label (1, 0, -1 or -2)."""
    return f"label.{finding}"


def split_column(scheme: str) -> str:
    """The column of a scheme's split ("train", "val", "test", or "" for a film outside it)."""
    return f"split.{scheme}"


def schemes_of(films: Sequence[Film]) -> list[str]:
    """The names of all schemes that put a film somewhere."""
    return sorted({scheme for film in films for scheme in film.splits})


def row_keys(films: Sequence[Film], rows: Sequence[Row], source: str) -> dict[str, UInt64[np.ndarray, "N"]]:
    """Keys (`evax.data.links`) of the patient, file and pixels of each film of a pack of `source`."""
    return {
        "patient": np.array([patient_key(film.patient_id, source) for film in films], np.uint64),
        "file": np.array([digest_key(row.file_sha256) for row in rows], np.uint64),
        "pixel": np.array([digest_key(row.pixel_sha256) for row in rows], np.uint64),
    }


def hash_columns(rows: Sequence[Row]) -> dict[str, pa.Array]:
    """Coarse and fine hash (`evax.data.likeness`) of each film, as "coarse" (uint64) and "fine" (32 bytes)."""
    likeness = [bytes.fromhex(row.likeness) for row in rows]
    coarse = [int.from_bytes(each[:COARSE_BYTES]) for each in likeness]
    fine = [each[COARSE_BYTES:] for each in likeness]
    return {"coarse": pa.array(coarse, pa.uint64()), "fine": pa.array(fine, DIGEST)}


def build_index(
    films: Sequence[Film],
    rows: Sequence[Row],
    keys: Mapping[str, UInt64[np.ndarray, "N"]],
    findings: Sequence[str],
    size: int,
    fit: Fit,
) -> pa.Table:
    """The table of the films in a pack and their rows; boxes in unit coordinates of the frame."""
    labels = np.array([film.labels for film in films], np.int8).reshape(len(films), len(findings))
    boxes = [
        [box._asdict() for box in _framed_boxes(film.boxes, row, size, fit)]
        for film, row in zip(films, rows, strict=True)
    ]
    columns = {
        **{name: pa.array([getattr(film, name) for film in films], pa.string()) for name in TEXTS},
        **{name: coded([getattr(film, name) for film in films]) for name in CODED},
        **({ORIGIN: coded([film.origin for film in films])} if any(film.origin for film in films) else {}),
        "age": pa.array([film.age for film in films], pa.float32()),
        **{
            split_column(scheme): coded([film.splits.get(scheme, "") for film in films]) for scheme in schemes_of(films)
        },
        **{label_column(finding): pa.array(labels[:, number]) for number, finding in enumerate(findings)},
        "boxes": pa.array(boxes, BOXES),
        "file_sha256": _digests([row.file_sha256 for row in rows]),
        "pixel_sha256": _digests([row.pixel_sha256 for row in rows]),
        **hash_columns(rows),
        **{key_column(kind): pa.array(values) for kind, values in keys.items()},
        "width": pa.array([row.width for row in rows], pa.int32()),
        "height": pa.array([row.height for row in rows], pa.int32()),
    }
    return pa.table(columns)


def arrow_bytes(table: pa.Table) -> bytes:
    """The table as an Arrow file of one batch, not compressed; equal tables give equal bytes."""
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return buffer.getvalue()


def map_index(path: Path) -> pa.Table:
    """The table of a file: its columns lie in the mapped file. Raises pyarrow.ArrowInvalid if it is damaged."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """A column (N,) as NumPy sees it: in the mapped file, where it is one batch of numbers."""
    parts = [_part_to_numpy(part) for part in column.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def coded(values: Sequence[str]) -> pa.DictionaryArray:
    """Texts as codes, which follow the order of the texts."""
    names = sorted(set(values))
    codes = {name: code for code, name in enumerate(names)}
    return pa.DictionaryArray.from_arrays(
        pa.array([codes[value] for value in values], pa.int32()), pa.array(names, pa.string())
    )


def _part_to_numpy(part: pa.Array) -> np.ndarray:
    if isinstance(part, pa.DictionaryArray):
        return _part_to_numpy(part.dictionary)[part.indices.to_numpy()]
    if pa.types.is_fixed_size_binary(part.type):
        width = part.type.byte_width
        values = np.frombuffer(part.buffers()[1], np.uint8)[part.offset * width :]
        return values[: len(part) * width].reshape(len(part), width)
    if pa.types.is_string(part.type):
        return np.array(part.to_pylist(), np.str_)
    return part.to_numpy()


def _framed_boxes(boxes: Sequence[Box], row: Row, size: int, fit: Fit) -> tuple[Box, ...]:
    return fit_boxes(boxes, frame_film(row.width, row.height, size, fit)) if boxes else ()


def _digests(values: Sequence[str]) -> pa.Array:
    return pa.array([bytes.fromhex(value) or None for value in values], DIGEST)
