"""Shards of a pack: a range of the source's table, written once and kept over interruptions.

Shard 3 is `pixels-00003.npy`, a `masks-<name>-00003.npy` for each mask, and `rows-00003.json`, which is
written last: a shard is finished when its files are there and its rows carry the key of the present settings.
"""

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from evax.data.atomic import replacing, sha256_of, write_atomically
from evax.data.decoding import Decoded
from evax.data.film import Refusal

PIXELS = "pixels"
NUM_VALUES = 256


@dataclass(frozen=True)
class Row:
    """A film of a shard: its position in the source's table, size and digests of the original, likeness."""

    position: int
    width: int
    height: int
    file_sha256: str
    pixel_sha256: str
    likeness: str


@dataclass
class Shard:
    """What is known of a shard. `total` and `total_squares` sum its pixel values exactly.

    `counts` are the pixels of each value from 0 to 255 over its masks, by name, and `empty` how many of these show
    nothing.
    """

    key: str
    rows: list[Row] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)
    empty: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    total: int = 0
    total_squares: int = 0


def shard_file(kind: str, number: int) -> str:
    """The name of a shard's pixels ("pixels") or masks ("masks-<name>")."""
    return f"{kind}-{number:05d}.npy"


def mask_kind(name: str) -> str:
    """The kind of the files that hold the masks `name`."""
    return f"masks-{name}"


def npy_header(count: int, size: int) -> bytes:
    """The header of a .npy file of `count` grey squares; as long for one film as for a million."""
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def rows_path(folder: Path, number: int) -> Path:
    """The file that says that a shard is finished."""
    return folder / f"rows-{number:05d}.json"


def read_finished(folder: Path, number: int, key: str) -> Shard | None:
    """A shard that an earlier run finished under the same key, if there is one."""
    try:
        saved = json.loads(rows_path(folder, number).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if saved.get("key") != key or not all((folder / name).exists() for name in saved["files"]):
        return None
    if saved.pop("values", None):  # of masks, from before their pixels were counted
        return None
    saved["rows"] = [Row(**row) for row in saved["rows"]]
    saved["refusals"] = [Refusal(*refusal) for refusal in saved["refusals"]]
    return Shard(**saved)


def write_shard(
    folder: Path, number: int, key: str, start: int, decoded: Iterable[Decoded | Refusal], size: int
) -> Shard:
    """Write the films that were decoded from the table's positions `start`, `start + 1`, ... as one shard."""
    rows_path(folder, number).unlink(missing_ok=True)
    shard = Shard(key)
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for position, film in enumerate(decoded, start):
            if isinstance(film, Refusal):
                shard.refusals.append(film)
                continue
            if not files:
                shard.masks = sorted(film.pixels.masks)
                for kind in (PIXELS, *map(mask_kind, shard.masks)):
                    files[kind] = stack.enter_context(_npy_writer(folder / shard_file(kind, number), size))
            _append(shard, position, film, files)
    shard.files = {shard_file(kind, number): sha256_of(folder / shard_file(kind, number)) for kind in files}
    write_atomically(rows_path(folder, number), json.dumps(asdict(shard)).encode())
    return shard


def _append(shard: Shard, position: int, film: Decoded, files: dict[str, BinaryIO]) -> None:
    image, masks = film.pixels
    if sorted(masks) != shard.masks:
        raise ValueError(f"a source must give each film the masks {shard.masks}, not {sorted(masks)}")
    files[PIXELS].write(image.tobytes())
    for name, mask in masks.items():
        files[mask_kind(name)].write(mask.tobytes())
        counts = np.bincount(mask.ravel(), minlength=NUM_VALUES)
        shard.counts[name] = (counts + shard.counts.get(name, 0)).tolist()
        shard.empty[name] = shard.empty.get(name, 0) + int(not mask.any())
    digests = film.file_sha256, film.pixel_sha256, film.likeness.hex()
    shard.rows.append(Row(position, film.width, film.height, *digests))
    total, total_squares = _sums(image)
    shard.total += total
    shard.total_squares += total_squares


def _sums(image: UInt8[np.ndarray, "S S"]) -> tuple[int, int]:
    counts = np.bincount(image.ravel(), minlength=NUM_VALUES)
    values = np.arange(NUM_VALUES)
    return int(counts @ values), int(counts @ values**2)


@contextmanager
def _npy_writer(path: Path, size: int) -> Iterator[BinaryIO]:
    """Append films to a .npy file whose length is known only at the end."""
    header = npy_header(0, size)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        yield file
        count = (file.tell() - len(header)) // size**2
        file.seek(0)
        file.write(npy_header(count, size))
