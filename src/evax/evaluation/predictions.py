"""Scores per film as a table, and the fingerprint of the films they belong to."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from jaxtyping import Float, Shaped


def ids_digest(image_ids: Shaped[np.ndarray, "N"]) -> str:
    """SHA-256 of the sorted ids, one a line: equal for the same films in any order."""
    lines = "\n".join(sorted(str(image_id) for image_id in image_ids))
    return hashlib.sha256(lines.encode()).hexdigest()


def write_predictions(
    path: Path,
    image_ids: Shaped[np.ndarray, "N"],
    scores: Float[np.ndarray, "N C"],
    findings: Sequence[str],
) -> None:
    """A parquet table with `image_id` and one float64 score column per finding: confident films do not tie."""
    if len(np.unique(image_ids)) < len(image_ids):
        raise ValueError(f"{path.name}: an image id occurs twice; a film is scored once")
    table = pd.DataFrame(scores.astype(np.float64), columns=list(findings))
    table.insert(0, "image_id", image_ids)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False)


def read_predictions(path: Path, findings: Sequence[str]) -> tuple[Shaped[np.ndarray, "N"], Float[np.ndarray, "N C"]]:
    """Image ids and scores in the order of `findings`."""
    table = pd.read_parquet(path)
    missing = [finding for finding in findings if finding not in table]
    if missing:
        raise ValueError(f"{path.name} has no column {missing[0]}; it holds {', '.join(table.columns[1:])}")
    return table["image_id"].to_numpy(), table[list(findings)].to_numpy(dtype=np.float64)


def finding_columns(path: Path) -> list[str]:
    """The findings that a file of predictions has scores of, in its order."""
    return [name for name in pq.read_schema(path).names if name != "image_id"]
