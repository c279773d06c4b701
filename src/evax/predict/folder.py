"""Probabilities and embeddings of all films below a folder."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from rich.progress import Progress

from evax.data.decoding import DecodingPool
from evax.predict.classifier import FilmClassifier
from evax.predict.films import FilmReader, blocks_of, files_below
from evax.predict.tables import open_tables


class Counts(NamedTuple):
    """Files that became rows, and files that were refused."""

    films: int
    refused: int


def predict_folder(
    classifier: FilmClassifier,
    folder: Path,
    output: Path,
    *,
    batch_size: int = 32,
    workers: int = 0,
    progress: Progress | None = None,
) -> Counts:
    """Write the tables of `evax.predict.tables` for every file below `folder` into `output`.

    Films are read and forgotten block by block, in `workers` child processes (0: in this one), each of which a
    damaged film may kill without ending the run.
    """
    progress = progress or Progress(disable=True)
    bar = progress.add_task("films", total=sum(1 for _ in files_below(folder, skip=output)))
    counts = Counts(0, 0)
    with (
        open_tables(output, classifier.classes, classifier.backbone.num_features) as tables,
        DecodingPool(FilmReader(classifier.view), workers) as pool,
    ):
        for block in blocks_of(folder, files_below(folder, skip=output), pool):
            tables.refuse(block.refusals)
            if block.names:
                tables.add(block.names, *read_squares(classifier, block.squares, batch_size))
            counts = Counts(counts.films + len(block.names), counts.refused + len(block.refusals))
            progress.advance(bar, block.num_files)
    return counts


@torch.inference_mode()
def read_squares(
    classifier: FilmClassifier, squares: UInt8[np.ndarray, "N 1 S S"], batch_size: int
) -> tuple[Float64[np.ndarray, "N C"], Float32[np.ndarray, "N D"]]:
    """Probabilities and embeddings of what the classifier's view made of films, on the classifier's device.

    Probabilities are float64, as those of a report card: confident images do not tie.
    """
    probabilities, embeddings = [], []
    for start in range(0, len(squares), batch_size):
        batch = torch.from_numpy(squares[start : start + batch_size]).to(classifier.device)
        reading = classifier.read(classifier.images(batch))
        probabilities.append(classifier.odds(reading.logits.cpu().double()).numpy())
        embeddings.append(reading.embeddings.cpu().numpy())
    return np.concatenate(probabilities), np.concatenate(embeddings)


def default_workers() -> int:
    """One child process, so that a decoder's crash ends no run; up to 8 where a GPU waits for films."""
    return min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 1
