"""What the maps of `explain.py` find of the boxes, beside maps that know no network; a row of a csv for each box."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32
from omegaconf import DictConfig

from evax.commands.explain.films import Case, Films, probabilities
from evax.commands.explain.parts import Mapped, at_size
from evax.data.atomic import write_atomically
from evax.data.film import Box
from evax.data.transforms import resize
from evax.evaluation.localisation import (
    SCORED_SIZE,
    THRESHOLDS,
    RegionScores,
    box_region,
    official_region,
    score_regions,
)
from evax.evaluation.localisation_card import Boxes, Localisation, localisation
from evax.evaluation.map_baselines import brightness_map, usual_places
from evax.predict.classifier import FilmClassifier

SCORES = "scores.csv"
BASELINES = {  # and their titles
    "random": "random",
    "centre": "centre prior",
    "brightness": "the film's brightness",
    "usual_place": "usual place of the finding",
}
COLUMNS = (
    *("image_id", "number", "finding", "probability", "x", "y", "width", "height", "area", "method"),
    *("threshold", "iou", "pointing", "energy", "pixel_auroc"),
)


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of each method and baseline: of each box, and in the mean. `probabilities` are of the cases."""

    by_box: dict[str, RegionScores]
    found: dict[str, Localisation]
    probabilities: Float32[np.ndarray, "K"]
    mean_area: float


def score(films: Films, maps: Mapping[str, Mapped], cfg: DictConfig, classifier: FilmClassifier) -> Scored:
    """Every method and baseline on every box, a row of boxes for each case."""
    frame = frame_size(films)
    boxes = [box for case in films.cases for box in case.boxes]
    regions = [official_region(box) if cfg.protocol == "official" else box_region(box, frame) for box in boxes]
    patients = np.array([films.patient_ids[case.film] for case in films.cases for _ in case.boxes])
    owners = Boxes(patients, np.array([box.finding for box in boxes]))
    heats = {name: (pixels(heat, frame) for heat in each.maps) for name, each in maps.items()}
    heats["brightness"] = (bright(films, case, frame) for case in films.cases)
    by_box = {name: score_regions(paired(films.cases, each, regions)) for name, each in heats.items()}
    places = usual_places(regions, owners.findings, owners.patient_ids)
    by_box["usual_place"] = score_regions(zip(places, regions, strict=True))
    findings = sorted(set(owners.findings.tolist()))
    found = {
        name: localisation(each, owners, findings, protocol=cfg.protocol, num_draws=cfg.draws, seed=cfg.seed)
        for name, each in by_box.items()
    }
    odds = probabilities(classifier, films.squares, cfg.batch_size)
    of_cases = np.array([odds[case.film, case.column] for case in films.cases])
    return Scored(by_box, found, of_cases, float(next(iter(by_box.values())).area.mean()))


def frame_size(films: Films) -> int:
    """Side in which maps and boxes of whole films are compared, where the network sees SCORED_SIZE pixels of it."""
    seen = films.squares.shape[1]
    return SCORED_SIZE if films.resize_to is None else round(SCORED_SIZE * films.resize_to / seen)


def pixels(heat: Float32[np.ndarray, "R C"], frame: int) -> Float32[np.ndarray, "S S"]:
    """A raw map from 0 to 1 on the whole film; what the network does not see is 0."""
    return in_frame(at_size(heat, SCORED_SIZE), frame)


def bright(films: Films, case: Case, frame: int) -> Float32[np.ndarray, "S S"]:
    """The brightness of the film of a case."""
    return in_frame(brightness_map(resize(films.squares[case.film], SCORED_SIZE)), frame)


def in_frame(heat: Float32[np.ndarray, "H W"], frame: int) -> Float32[np.ndarray, "S S"]:
    """A map of the middle of a film, with 0 around it."""
    before = (frame - SCORED_SIZE) // 2
    return np.pad(heat, (before, frame - SCORED_SIZE - before))


def paired(
    cases: Sequence[Case], heats: Iterable[Float[np.ndarray, "S S"]], regions: Sequence[Bool[np.ndarray, "S S"]]
) -> Iterator[tuple[Float[np.ndarray, "S S"], Bool[np.ndarray, "S S"]]]:
    """The map of each case with each of its regions, which come in the order of the cases."""
    following = iter(regions)
    for case, heat in zip(cases, heats, strict=True):
        for _ in case.boxes:
            yield heat, next(following)


def write_scores(folder: Path, films: Films, scored: Scored) -> None:
    """A row for each box and method; IoU is at the box's own threshold, and both are empty where it has none."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for method, by_box in scored.by_box.items():
        thresholds = scored.found[method].thresholds
        for number, (place, box) in enumerate(boxes_of_cases(films.cases)):
            film = films.cases[place].film
            cut = cut_at(thresholds[number], by_box.iou[number])
            free = (getattr(by_box, name)[number] for name in ("pointing", "energy", "pixel_auroc"))
            shape = (*box[1:], by_box.area[number])
            writer.writerow(
                [films.names[film], films.numbers[film], box.finding, f"{scored.probabilities[place]:.9g}"]
                + [f"{value:.6g}" for value in shape]
                + [method, *cut]
                + [f"{value:.6g}" for value in free]
            )
    write_atomically(folder / SCORES, text.getvalue().encode())


def cut_at(threshold: float, iou: Float[np.ndarray, "T"]) -> tuple[str, str]:
    """A box's threshold and its IoU there, of those at all THRESHOLDS; empty for NaN."""
    if np.isnan(threshold):
        return "", ""
    return f"{threshold:.2f}", f"{iou[np.searchsorted(THRESHOLDS, threshold)]:.6g}"


def boxes_of_cases(cases: Sequence[Case]) -> Iterator[tuple[int, Box]]:
    """The boxes in the order in which they are scored, each with the place of its case."""
    return ((place, box) for place, case in enumerate(cases) for box in case.boxes)
