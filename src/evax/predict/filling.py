"""Filling a folder with what a model makes of images: as they come, so that nothing finished is lost."""

import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn

import evax
from evax.backbones.preprocessing import normalisation_of
from evax.config import ConfigError
from evax.data.decoding import DecodingPool
from evax.data.files import left_out, printable, state_of
from evax.data.film import Film, Refusal
from evax.data.film_view import FilmView
from evax.predict.films import Batch, FilmReader, batches_of, list_images, walk_order
from evax.predict.journal import Journal, Record, Vectors
from evax.predict.tables import QUARANTINE, Tables
from evax.progress import Step

log = logging.getLogger(__name__)

NO_STATE = (-1, -1)  # of a file that cannot be looked at
MENDABLE = ("missing", "unreadable", "codec", "crash", "too_slow")  # without another file


class Counts(NamedTuple):
    """Files that became rows, and files that were refused."""

    films: int
    refused: int


class Row(NamedTuple):
    """What was made of an image: the cells of its row, and the path of its mask in the output; or why there is none."""

    cells: tuple[str, ...]
    mask: str = ""
    refusal: tuple[str, str] = ("", "")


class Predictor(ABC):
    """What a trained model makes of images, and the files in the output that hold it, of which `table` has the rows."""

    kind: ClassVar[str]
    table: ClassVar[str]
    others: ClassVar[tuple[str, ...]] = ()  # beside the tables

    def __init__(self, model: Any, output: Path) -> None:
        self.model, self.output = model, output

    @property
    def view(self) -> FilmView:
        """What the model sees of an image."""
        found: FilmView = self.model.view
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the predictions."""
        told = {
            "kind": self.kind,
            "weights": digest_of(self.model),
            "classes": self.model.classes,
            "view": [asdict(self.view), normalisation_of(self.model.backbone)],
            "version": evax.__version__,
        }
        found: dict[str, Any] = json.loads(json.dumps(told))
        return found

    @abstractmethod
    def begin(self, journal: Journal, names: Iterable[str]) -> list[str]:
        """Look at what the output holds before the files `names` are done; returns those of which something is lost."""

    @abstractmethod
    def predict(self, batch: Batch) -> tuple[list[Row], Vectors | None]:
        """A row for each image of a batch, and embeddings."""

    @abstractmethod
    def finish(self, journal: Journal, names: Sequence[str]) -> None:
        """Write what can be written only when the images `names` are done."""


def fill(predictor: Predictor, images: Path, *, batch_size: int, workers: int) -> Counts:
    """Write into the predictor's output what it makes of every file below a folder, or of one file.

    Files are read in `workers` child processes (0: in this one), each of which a damaged file may kill without ending
    the run. What the output holds of the same images by the same weights is not done again. Raises ConfigError where
    it holds anything else.
    """
    output = predictor.output
    if output.exists() and images.exists() and output.samefile(images):
        raise ConfigError(f"--output {output}: that is the folder of the images; give another --output")
    listing = list_images(images, skip=output)
    if told := left_out(listing):
        log.info("%s", told)
    states = {name: state_of(path) or NO_STATE for name, path in listing.files.items()}
    output.mkdir(parents=True, exist_ok=True)
    tables = Tables(output, predictor.table, predictor.model.classes)
    settings = {**predictor.settings, "images": printable(str(images.resolve()))}
    with Journal(output, settings, (predictor.table, QUARANTINE, *predictor.others)) as journal:
        journal.forget(predictor.begin(journal, states))
        journal.forget([name for name, each in journal.records.items() if _is_due(each, states)])
        films = [Film(name, "", (), path=path) for name, path in listing.files.items() if name not in journal.records]
        if len(films) < len(states):
            log.info("%d of %d files were done before", len(states) - len(films), len(states))
        entries: list[str | Refusal] = [*listing.files, *listing.refusals]
        entries.sort(key=_order)
        tables.write(_known(entries, journal))
        if films:
            _predict(predictor, films, states, journal, tables, batch_size=batch_size, workers=workers)
        known = list(_known(entries, journal))
        tables.write(known)
        rows = [entry.name for entry in known if isinstance(entry, Record) and entry.refusal is None]
        predictor.finish(journal, rows)
        journal.settle()
    return Counts(len(rows), len(known) - len(rows))


def _predict(
    predictor: Predictor,
    films: Sequence[Film],
    states: Mapping[str, tuple[int, int]],
    journal: Journal,
    tables: Tables,
    *,
    batch_size: int,
    workers: int,
) -> None:
    """Do the films, a batch at a time, each of which is on disk before the next one is begun."""
    done = 0
    try:
        with DecodingPool(FilmReader(predictor.view), workers) as pool, Step("images", len(films)) as step:
            for batch in batches_of(films, pool, batch_size):
                rows, vectors = predictor.predict(batch) if batch.names else ([], None)
                records = [Record(name, *states[name], (), reason, detail) for name, reason, detail in batch.refusals]
                records += [
                    Record(name, *states[name], row.cells, *row.refusal, row.mask)
                    for name, row in zip(batch.names, rows, strict=True)
                ]
                journal.add(records, vectors)
                tables.extend(records)
                done += len(records)
                step.advance(len(records))
    except BaseException:
        log.info("%d of %d files are done and kept; the same command goes on", done, len(films))
        raise


def digest_of(model: nn.Module) -> str:
    """The sha256 of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _is_due(record: Record, states: Mapping[str, tuple[int, int]]) -> bool:
    """Whether a file that was done is to be done again: it changed, or was refused for what may have been mended."""
    state = states.get(record.name, (record.size, record.changed))
    return record.reason in MENDABLE or state != (record.size, record.changed)


def _known(entries: Iterable[str | Refusal], journal: Journal) -> Iterator[Record | Refusal]:
    """What is known of files so far, in their order."""
    for entry in entries:
        if isinstance(entry, Refusal):
            yield entry
        elif entry in journal.records:
            yield journal.records[entry]


def _order(entry: str | Refusal) -> list[tuple[bool, str]]:
    return walk_order(entry.item if isinstance(entry, Refusal) else entry)
