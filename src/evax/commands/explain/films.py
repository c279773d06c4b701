"""Which films `explain.py` explains, for which findings: a pack's films with boxes, or those of a folder."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Shaped, UInt8
from omegaconf import DictConfig

from evax.commands.evaluate.any_classifier import shared_classes
from evax.config import ConfigError, instantiate
from evax.data.files import left_out, on_one_line
from evax.data.film import Box, Film, Refusal
from evax.data.links import sorted_unique
from evax.data.module import PackDataModule
from evax.data.names import as_names
from evax.evaluation.scorable import NO_OUTPUT
from evax.hints import nearest
from evax.predict.classifier import FilmClassifier
from evax.predict.films import FilmReader, list_images
from evax.runs.gate import UNKNOWN, lineage, splits_seen
from evax.runs.subject import read_run

log = logging.getLogger(__name__)

UNLABELLED: dict[str, Any] = {
    **dict.fromkeys(("labels", "masks", "masking")),
    "sampling": "uniform",
    "shuffle_labels": False,
    "fraction": 1.0,
    "keep_epoch": False,
}
NO_BOXES = "no boxes in these images"
KEYS = ("patient", "file", "pixel")  # of a pack: what a film that trained is known by


class Case(NamedTuple):
    """A map to be made: a film (its place among the films), a logit, and the boxes that the map should find."""

    film: int
    column: int
    finding: str
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, eq=False)
class Films:
    """What is explained; `numbers` are rows of the pack, or places in the folder. `resize_to` as in `FilmView`.

    `origin` tells the films' pixels by the digest of their pack, or their own, `not_scored` why findings have no boxes.
    """

    squares: UInt8[np.ndarray, "F S S"]
    names: list[str]
    numbers: list[int]
    patient_ids: Shaped[np.ndarray, "F"]
    cases: list[Case]
    origin: dict[str, Any]
    resize_to: int | None = None
    num_left_out: int = 0
    notes: list[str] = field(default_factory=list)
    not_scored: dict[str, str] = field(default_factory=dict)

    @property
    def has_boxes(self) -> bool:
        """Whether there is anything to score."""
        return any(case.boxes for case in self.cases)


def boxed_films(cfg: DictConfig, classifier: FilmClassifier) -> Films:
    """The films of a split that have boxes of the classifier's findings, without patients that it was trained on."""
    data = open_films(cfg, classifier)
    names = {theirs: ours for ours, theirs in shared_classes(classifier.classes, data.pack.findings).items()}
    wanted = set(asked_findings(cfg, classifier))
    rows = data.rows(cfg.split)
    boxes = {int(row): kept for row in rows if (kept := boxes_of(data, int(row), names, wanted))}
    if not boxes:
        raise ConfigError(
            f"split={cfg.split}: none of its {len(rows)} films in {data.pack.folder} has a box of "
            f"{', '.join(sorted(wanted))}; explain films without boxes by weights=FILE images=FOLDER"
        )
    every = np.array(sorted(boxes))
    has_trained, is_known = trained_on(Path(cfg.run or cfg.weights), data, every)
    chosen = every[~has_trained][: cfg.num_films]
    if not len(chosen):
        raise ConfigError(
            f"split={cfg.split}: all {len(every)} films with boxes are of patients that trained the model"
        )
    samples = data.dataset(chosen)
    cases = [case for place, row in enumerate(chosen.tolist()) for case in cases_of(place, boxes[row], classifier)]
    found = {case.finding for case in cases}
    return Films(
        squares=np.stack([samples[0, place]["image"][0].numpy() for place in range(len(chosen))]),
        names=data.pack.texts("image_id", chosen),
        numbers=chosen.tolist(),
        patient_ids=np.array(data.pack.texts("patient_id", chosen)),
        cases=cases,
        origin={"pack": data.pack.digest, "scheme": data.split, "data": f"{data.pack.manifest.source}/{data.split}"},
        resize_to=data.resize_to,
        num_left_out=int(has_trained.sum()),
        notes=notes_of(int(has_trained.sum()), is_known=is_known),
        not_scored={name: NO_BOXES for name in asked_findings(cfg, classifier) if name not in found}
        | {box.finding: NO_OUTPUT for row in chosen for box in data.pack.boxes(int(row)) if box.finding not in names},
    )


def open_films(cfg: DictConfig, classifier: FilmClassifier) -> PackDataModule:
    """The films of the run, or of `data`, as the classifier sees them; under official whole, as published."""
    node, view = read_run(Path(cfg.run)).data if cfg.run is not None else cfg.data, classifier.view
    seen: dict[str, Any] = {
        "image_size": view.image_size,
        "resize_to": None if cfg.protocol == "official" else view.resize_to,
        "fit_on": [],
        "batch_size": cfg.batch_size,
        "per_device_batch": None,
        "seed": cfg.seed,
    }
    return cast("PackDataModule", instantiate(node, **UNLABELLED, **seen))


def asked_findings(cfg: DictConfig, classifier: FilmClassifier) -> list[str]:
    """`findings` of the command line, or all classes."""
    asked = list(as_names("findings", cfg.findings) or classifier.classes)
    if unknown := [name for name in asked if name not in classifier.classes]:
        raise ConfigError(f"findings: the classifier has no {unknown[0]!r}; {nearest(unknown[0], classifier.classes)}")
    return asked


def boxes_of(data: PackDataModule, row: int, names: dict[str, str], wanted: set[str]) -> tuple[Box, ...]:
    """The boxes of a film under the classifier's names of their findings; others are dropped."""
    named = (box._replace(finding=names.get(box.finding, "")) for box in data.pack.boxes(row))
    return tuple(box for box in named if box.finding in wanted)


def cases_of(place: int, boxes: Sequence[Box], classifier: FilmClassifier) -> list[Case]:
    """A map per finding that a film has boxes of."""
    findings = dict.fromkeys(box.finding for box in boxes)
    return [
        Case(place, classifier.classes.index(name), name, tuple(box for box in boxes if box.finding == name))
        for name in findings
    ]


def trained_on(weights: Path, data: PackDataModule, rows: Int[np.ndarray, "R"]) -> tuple[Bool[np.ndarray, "R"], bool]:
    """Which films are, or share a patient with, one that trained or chose the model; and whether its files tell all."""
    films, is_known = lineage(weights)
    has_trained = np.zeros(len(rows), bool)
    for trained in films:
        seen = trained.rows(*splits_seen(trained))
        for kind in KEYS:
            has_trained |= np.isin(data.pack.keys(kind)[rows], sorted_unique(trained.pack.keys(kind)[seen]))
    return has_trained, is_known


def notes_of(num_left_out: int, *, is_known: bool) -> list[str]:
    """What a reader of the scores must know."""
    notes = [] if is_known else [UNKNOWN]
    return notes + ([f"{num_left_out} films of patients that trained the model are left out"] if num_left_out else [])


def folder_films(cfg: DictConfig, classifier: FilmClassifier) -> Films:
    """The films below a folder, each for the asked findings, or for the one that the classifier finds likeliest."""
    folder = Path(cfg.images)
    if not folder.exists():
        raise ConfigError(f"images={folder}: there is no such folder or file")
    listing, reader = list_images(folder), FilmReader(classifier.view)
    squares: list[UInt8[np.ndarray, "S S"]] = []
    names: list[str] = []
    refusals = list(listing.refusals)
    for name, path in listing.files.items():
        if cfg.num_films is not None and len(names) == cfg.num_films:
            break
        decoded = reader.decode(Film(name, "", (), path=path))
        if isinstance(decoded, Refusal):
            refusals.append(decoded)
        else:
            squares.append(decoded.square)
            names.append(name)
    for refusal in refusals:
        log.info("skipped %s: %s", on_one_line(refusal.item), ", ".join(filter(None, refusal[1:])))
    if told := left_out(listing):
        log.info("%s", told)
    if not names:
        raise ConfigError(f"images={folder}: nothing could be read as a film")
    stacked = np.stack(squares)
    origin = {"data": "folder", "pixels": hashlib.sha256(stacked.tobytes()).hexdigest()}
    films = Films(stacked, names, list(range(len(names))), np.array(names), [], origin)
    asked = [classifier.classes.index(name) for name in asked_findings(cfg, classifier)] if cfg.findings else None
    likeliest = probabilities(classifier, films.squares, cfg.batch_size).argmax(1).tolist()
    films.cases.extend(
        Case(place, column, classifier.classes[column])
        for place, best in enumerate(likeliest)
        for column in (asked or [best])
    )
    return films


@torch.inference_mode()
def probabilities(
    classifier: FilmClassifier, squares: UInt8[np.ndarray, "F S S"], batch_size: int
) -> Float32[np.ndarray, "F C"]:
    """What the classifier makes of films."""
    starts = range(0, len(squares), batch_size)
    batches = (torch.from_numpy(squares[start : start + batch_size])[:, None].to(classifier.device) for start in starts)
    return np.concatenate([classifier.probabilities(classifier.images(batch)).cpu().numpy() for batch in batches])
