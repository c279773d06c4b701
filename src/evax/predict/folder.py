"""Probabilities and embeddings of all films below a folder."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8

from evax.predict.classifier import FilmClassifier
from evax.predict.filling import Counts, Predictor, Row, fill
from evax.predict.films import Batch
from evax.predict.journal import Journal, Vectors
from evax.predict.tables import EMBEDDINGS, PROBABILITIES, embedded, write_embeddings


class ClassifierPredictor(Predictor):
    """Probabilities of a classifier as rows, and its embeddings as a table at the end."""

    kind: ClassVar[str] = "classifier"
    table: ClassVar[str] = PROBABILITIES
    others: ClassVar[tuple[str, ...]] = (EMBEDDINGS,)

    def predict(self, batch: Batch) -> tuple[list[Row], Vectors]:
        """Probabilities with all digits, and embeddings."""
        probabilities, embeddings = read_squares(self.model, batch.squares)
        return [Row(tuple(map(repr, row))) for row in probabilities.tolist()], embeddings

    def begin(self, journal: Journal, names: Iterable[str]) -> list[str]:
        """An embedding is in the journal or in its table."""
        apart = [name for name, each in journal.records.items() if not each.reason and name not in journal.embedded]
        present = set(embedded(self.output / EMBEDDINGS)) if apart else set[str]()
        return [name for name in apart if name not in present]

    def finish(self, journal: Journal, names: Sequence[str]) -> None:
        """Write the embeddings, where they are not those that are there."""
        path = self.output / EMBEDDINGS
        if journal.embedded or embedded(path) != list(names) or not path.exists():
            write_embeddings(path, names, journal.vectors(names), self.model.backbone.num_features)


def predict_folder(
    classifier: FilmClassifier, images: Path, output: Path, *, batch_size: int = 32, workers: int = 0
) -> Counts:
    """Write probabilities.csv, embeddings.parquet and quarantine.csv for every file below `images` into `output`.

    What `output` holds of a run that was ended is gone on with. `workers` are those of `evax.predict.filling.fill`.
    """
    return fill(ClassifierPredictor(classifier, output), images, batch_size=batch_size, workers=workers)


@torch.inference_mode()
def read_squares(
    classifier: FilmClassifier, squares: UInt8[np.ndarray, "N 1 S S"]
) -> tuple[Float64[np.ndarray, "N C"], Float32[np.ndarray, "N D"]]:
    """Probabilities and embeddings of what the classifier's view made of films, on the classifier's device.

    Probabilities are float64, as those of a report card: confident images do not tie.
    """
    reading = classifier.read(classifier.images(torch.from_numpy(squares).to(classifier.device)))
    return classifier.odds(reading.logits.cpu().double()).numpy(), reading.embeddings.cpu().numpy()


def default_workers() -> int:
    """One child process, so that a decoder's crash ends no run; up to 8 where a GPU waits for films."""
    return min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 1
