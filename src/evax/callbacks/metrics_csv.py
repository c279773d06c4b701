"""The run directory's `metrics.csv`: one row per optimizer step, exact across kills and resumes."""

import csv
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from evax.checkpoints.names import METRICS


def read_metrics(run_dir: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """The steps of a run directory in order, and the metrics that each has."""
    for row in MetricsCsv(run_dir).rows():
        step = int(row.pop("step"))
        yield step, {name: int(cell) if cell.isdigit() else float(cell) for name, cell in row.items() if cell}


class MetricsCsv(Logger):
    """Wide table, one row per step, in step order; written as it comes and never deleted.

    Metrics of the same step share a row. A resumed run calls `rewind` with the step it starts from: later rows
    belong to the interrupted run and are dropped, to be written again.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / METRICS
        self._columns = ["step"]
        self._row: dict[str, str] = {}
        self._row_start = 0  # byte offset of the newest row, which may still grow

    @property
    def name(self) -> str:
        """Lightning asks; the folder is the run's."""
        return "metrics"

    @property
    def version(self) -> str:
        """Lightning asks; there is one table per run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run directory has `config.yaml`."""

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Keep the rows up to `step`, and go on after them."""
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["step"] and int(row["step"]) <= step]
            self._columns = list(rows[0]) if rows else ["step"]
            self._rewrite(rows)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float | int], step: int | None = None) -> None:
        """Write metrics of a step; a step older than the newest row is an error of the caller."""
        if step is None:
            raise ValueError("metrics need the optimizer step they belong to")
        new = {name: repr(value if isinstance(value, int) else float(value)) for name, value in metrics.items()}
        if unseen := [name for name in new if name not in self._columns]:
            self._columns += unseen
            self._rewrite(self.rows())
        is_same_row = self._row.get("step") == str(step)
        if not is_same_row and self._row and step < int(self._row["step"]):
            raise ValueError(f"metrics of step {step} came after those of step {self._row['step']}")
        self._row = (self._row if is_same_row else {"step": str(step)}) | new
        self._write_newest(replace=is_same_row)

    def rows(self) -> list[dict[str, str]]:
        """Every row as text cells; cells of metrics that a step does not have are empty."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _write_newest(self, *, replace: bool) -> None:
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            end = file.seek(0, 2)
            self._row_start = self._row_start if replace else end
            file.seek(self._row_start)
            file.write(self._line(self._row))
            file.truncate()  # last, so that a kill in between loses nothing

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        """Write the whole table anew by same-folder rename: on a new column, or on resume."""
        lines = [self._line({name: name for name in self._columns}), *map(self._line, rows)]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(lines))
        temporary.replace(self.path)
        self._row = {name: cell for name, cell in rows[-1].items() if cell} if rows else {}
        self._row_start = sum(map(len, lines)) - (len(lines[-1]) if rows else 0)

    def _line(self, row: dict[str, str]) -> bytes:
        return (",".join(row.get(name) or "" for name in self._columns) + "\n").encode()
