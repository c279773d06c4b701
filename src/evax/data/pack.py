"""Read a pack: memory-mapped films and table."""

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int, Int8, Int32, UInt8, UInt64

from evax.data.film import Box
from evax.data.index import ORIGIN, key_column, label_column, map_index, split_column, to_numpy
from evax.data.manifest import INDEX, QUARANTINE, Manifest, PackError, prepare_again, read_manifest
from evax.data.shards import NUM_VALUES, PIXELS, mask_kind, npy_header, shard_file


class Pack:
    """The films of one source, ready for training: `len(pack)` rows in the order of the source's table.

    `labels` are 1 present, 0 absent, -1 uncertain, -2 not mentioned, with a column for each of `findings`.
    `mean` and `std` are of pixels / 255. Opening a pack reads none of its rows: pixels and table are mapped, numbers
    are used where they lie, and texts are made when they are asked for. A pack pickles as its folder's name.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        _check_usable(self.folder, self.manifest)
        _check_files(self.folder, self.manifest)
        self._table = _open_index(self.folder, self.manifest)
        self._starts = np.cumsum([0, *(shard["rows"] for shard in self.manifest.shards)])
        if len(self) != self._starts[-1]:
            raise PackError(
                f"{self.folder / INDEX} has {len(self)} rows for {self._starts[-1]} films: "
                f"{prepare_again(self.folder, self.manifest.source)}"
            )
        self._maps: dict[str, UInt8[np.ndarray, "n H W"]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Pack, (self.folder,)

    def __len__(self) -> int:
        return self._table.num_rows

    @cached_property
    def image_ids(self) -> np.ndarray:
        """Names of the films (N,)."""
        return self.column("image_id")

    @cached_property
    def patient_ids(self) -> np.ndarray:
        """Patients (N,), as their source names them."""
        return self.column("patient_id")

    @cached_property
    def views(self) -> np.ndarray:
        """Projections (N,), such as "AP" and "PA"; "" is unknown."""
        return self.column("view")

    @cached_property
    def sexes(self) -> np.ndarray:
        """ "F", "M" or "" (N,)."""
        return self.column("sex")

    @cached_property
    def origins(self) -> np.ndarray:
        """The collections (N,) that the films of a mixed data set come from; "" is unknown."""
        return self.column(ORIGIN) if ORIGIN in self._table.column_names else np.full(len(self), "")

    @cached_property
    def ages(self) -> Float32[np.ndarray, " N"]:
        """Ages in years; NaN is unknown."""
        return self.column("age")

    @cached_property
    def labels(self) -> Int8[np.ndarray, "N C"]:
        """A column for each of `findings`."""
        columns = [self.column(label_column(finding)) for finding in self.findings]
        return np.stack(columns, axis=1) if columns else np.empty((len(self), 0), np.int8)

    @property
    def findings(self) -> tuple[str, ...]:
        """Names of the label columns, in order."""
        return tuple(self.manifest.findings)

    @property
    def image_size(self) -> int:
        """Side of the square films in pixels."""
        return self.manifest.size

    @property
    def mean(self) -> float:
        """Mean of all pixels, in 0..1."""
        return self.manifest.mean

    @property
    def std(self) -> float:
        """Standard deviation of all pixels, in 0..1."""
        return self.manifest.std

    @property
    def share(self) -> str:
        """ "public", or "credentialed" when pixels and ids must never leave the machine."""
        return self.manifest.share

    @property
    def digest(self) -> str:
        """The sha256 that identifies the content of the pack."""
        return self.manifest.digest

    @property
    def schemes(self) -> tuple[str, ...]:
        """The names that `split` knows."""
        prefix = split_column("")
        return tuple(name.removeprefix(prefix) for name in self._table.column_names if name.startswith(prefix))

    def split(self, scheme: str) -> np.ndarray:
        """The split (N,) of each row under a scheme: "train", "val", "test", or "" for a film outside it."""
        self.check_scheme(scheme)
        return self.column(split_column(scheme))

    def is_in(self, scheme: str, splits: Collection[str]) -> Bool[np.ndarray, "N"]:
        """Which rows a scheme puts into one of `splits`, without making texts of them."""
        self.check_scheme(scheme)
        parts = self._column(split_column(scheme)).chunks
        wanted = [np.array([name in splits for name in part.dictionary.to_pylist()], bool) for part in parts]
        return np.concatenate([is_in[part.indices.to_numpy()] for part, is_in in zip(parts, wanted, strict=True)])

    def keys(self, kind: str) -> UInt64[np.ndarray, "N"]:
        """The key (`evax.data.links`) of each row's "patient", "file" or "pixel": equal in any pack for equal ones."""
        return self.column(key_column(kind))

    @cached_property
    def patients(self) -> Int32[np.ndarray, "N"]:
        """The patients as numbers: how many come before them by name."""
        return self._column("patient_id").chunk(0).indices.to_numpy()

    def column(self, name: str) -> np.ndarray:
        """A column of the index as a flat NumPy array (N,)."""
        return to_numpy(self._column(name))

    def texts(self, name: str, rows: Int[np.ndarray, "R"]) -> list[str]:
        """A column of text at some rows."""
        return self._column(name).take(pa.array(rows)).to_pylist()

    def boxes(self, row: int) -> tuple[Box, ...]:
        """The boxes of a film in unit coordinates of its frame."""
        return tuple(Box(**box) for box in self._column("boxes")[row].as_py())

    def image(self, row: int) -> UInt8[np.ndarray, "H W"]:
        """A copy of a film's pixels, 0 black to 255 white."""
        return np.array(self.film(row))

    def film(self, row: int) -> UInt8[np.ndarray, "H W"]:
        """A film's pixels where they are mapped: to be read only, and fetched from disk as far as they are read."""
        return self._map(PIXELS, row)

    def mask(self, name: str, row: int) -> UInt8[np.ndarray, "H W"]:
        """A copy of a film's mask `name`; its values are the source's."""
        if name not in self.manifest.masks:
            known = ", ".join(self.manifest.masks) or "none"
            raise ValueError(f"mask={name} is unknown to the pack at {self.folder}; it has: {known}")
        return np.array(self._map(mask_kind(name), row))

    def mask_pixels(self, name: str) -> dict[int, int]:
        """How many pixels of the mask `name` have each value, over all films."""
        if name in self.manifest.mask_counts:
            return dict(zip(self.manifest.mask_values[name], self.manifest.mask_counts[name], strict=True))
        counts = np.zeros(NUM_VALUES, np.int64)
        for row in range(len(self)):  # of a pack from before they were kept
            counts += np.bincount(self._map(mask_kind(name), row).ravel(), minlength=NUM_VALUES)
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}

    def _column(self, name: str) -> pa.ChunkedArray:
        return self._table[name]

    def check_scheme(self, scheme: str) -> None:
        """Refuse a scheme that the pack does not have."""
        if scheme not in self.schemes:
            known = ", ".join(self.schemes) or "none"
            raise ValueError(f"data.split={scheme}: the pack at {self.folder} has no such split; it has {known}")

    def _map(self, kind: str, row: int) -> UInt8[np.ndarray, "H W"]:
        number, offset = self._place(row)
        name = shard_file(kind, number)
        if name not in self._maps:
            self._maps[name] = np.asarray(np.load(self.folder / name, mmap_mode="r", allow_pickle=False))
        return self._maps[name][offset]

    def _place(self, row: int) -> tuple[int, int]:
        """The shard of a row, and the row within it."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a pack of {len(self)} films")
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return number, row - int(self._starts[number])


def _check_usable(folder: Path, manifest: Manifest) -> None:
    if manifest.usable:
        return
    raise PackError(
        f"the pack at {folder} is unusable: {manifest.quarantined} of {manifest.items} items are in "
        f"{QUARANTINE}, above max_quarantine={manifest.max_quarantine:g}; fix those files or raise "
        "max_quarantine, and " + prepare_again(folder, manifest.source)
    )


def _open_index(folder: Path, manifest: Manifest) -> pa.Table:
    try:
        return map_index(folder / INDEX)
    except pa.ArrowInvalid:
        raise PackError(_broken(folder, [INDEX], manifest.source)) from None


def _check_files(folder: Path, manifest: Manifest) -> None:
    sizes = {INDEX: None}
    for shard in manifest.shards:
        size = len(npy_header(shard["rows"], manifest.size)) + shard["rows"] * manifest.size**2
        sizes |= dict.fromkeys(shard["files"], size)
    broken = [name for name, size in sizes.items() if not _has_size(folder / name, size)]
    if broken:
        raise PackError(_broken(folder, broken, manifest.source))


def _has_size(path: Path, size: int | None) -> bool:
    return path.exists() and (size is None or path.stat().st_size == size)


def _broken(folder: Path, names: list[str], source: str) -> str:
    return (
        f"the pack at {folder} has missing or damaged files ({', '.join(names)}): delete them and "
        f"{prepare_again(folder, source)}"
    )
