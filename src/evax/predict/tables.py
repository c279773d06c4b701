"""What is known of every file of a folder, as tables that grow while it is read."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Float64

from evax.data.atomic import replacing
from evax.data.film import Refusal

PROBABILITIES, EMBEDDINGS, QUARANTINE = "probabilities.csv", "embeddings.parquet", "quarantine.csv"


class Tables:
    """Three open files: a probability per class, an embedding per film, and the files that are no films."""

    def __init__(
        self, probabilities: IO[str], quarantine: IO[str], embeddings: pq.ParquetWriter, classes: tuple[str, ...]
    ) -> None:
        self._probabilities, self._quarantine = csv.writer(probabilities), csv.writer(quarantine)
        self._embeddings = embeddings
        self._probabilities.writerow(["image", *classes])
        self._quarantine.writerow(["image", "reason", "detail"])

    def add(
        self, names: list[str], probabilities: Float64[np.ndarray, "N C"], embeddings: Float32[np.ndarray, "N D"]
    ) -> None:
        """Write films that were read, their probabilities with all digits."""
        rows = zip(names, probabilities.tolist(), strict=True)
        self._probabilities.writerows([name, *row] for name, row in rows)
        flat = pa.array(embeddings.ravel(), pa.float32())
        vectors = pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
        self._embeddings.write_table(pa.Table.from_arrays([pa.array(names), vectors], schema=self._embeddings.schema))

    def refuse(self, refusals: list[Refusal]) -> None:
        """Write files that were not read."""
        self._quarantine.writerows(refusals)


@contextmanager
def open_tables(folder: Path, classes: tuple[str, ...], width: int) -> Iterator[Tables]:
    """Tables that take their places in a folder together at the end; after an error none does."""
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("image", pa.string()), ("embedding", pa.list_(pa.float32(), width))])
    with ExitStack() as stack:
        paths = [stack.enter_context(replacing(folder / name)) for name in (PROBABILITIES, QUARANTINE, EMBEDDINGS)]
        files: list[Any] = [stack.enter_context(path.open("w", newline="", encoding="utf-8")) for path in paths[:2]]
        writer = stack.enter_context(pq.ParquetWriter(paths[2], schema))
        yield Tables(files[0], files[1], writer, classes)
