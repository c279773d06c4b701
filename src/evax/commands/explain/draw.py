"""The figures of an explanation, from its maps and results; films carry numbers, never names."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from omegaconf import DictConfig

from evax.commands.explain.films import Case, Films
from evax.commands.explain.parts import at_size, batch_of
from evax.explain import Explainable, pca_colours, reference_attention
from evax.report.explanation import draw_faithfulness, draw_localisation, draw_randomisation
from evax.report.maps import Explained, draw_film, draw_gallery, draw_point, draw_tokens

log = logging.getLogger(__name__)

FIGURES = "figures"
GALLERY = 6  # films of a finding
SHEET = 36  # films at most in one picture of patch tokens


def draw(
    folder: Path,
    cfg: DictConfig,
    result: Mapping[str, Any],
    explainable: Explainable,
    films: Films,
    maps: Mapping[str, Float32[np.ndarray, "K R C"]],
) -> None:
    """Write `figures/`: scores, films one by one, galleries by finding, patch tokens, and what a point attends to."""
    place = folder / FIGURES
    for key, name, drawer in (
        ("localisation", "localisation", draw_localisation),
        ("faithfulness", "faithfulness", draw_faithfulness),
        ("randomisation", "randomisation", draw_randomisation),
    ):
        if result[key]:
            drawer(result, place / f"{name}.png")
    titled = {result["titles"][name]: each for name, each in maps.items()}
    for number in range(min(cfg.num_figures, len(films.cases))):
        explained = explained_case(explainable, films, number, titled)
        draw_film(explained, place / f"film-{explained.number:06d}-{in_a_file_name(explained.finding)}.png")
    for finding in result["findings"] if cfg.num_figures else ():
        chosen = [number for number, case in enumerate(films.cases) if case.finding == finding]
        count = min(GALLERY, cfg.num_figures)
        rows = [explained_case(explainable, films, number, titled) for number in chosen[:count]]
        draw_gallery(rows, place / f"gallery-{in_a_file_name(finding)}.png")
    if cfg.num_figures:
        numbers = range(len(films.names))[: min(cfg.num_figures, SHEET)]
        colours = colours_of(explainable, films, numbers, cfg.batch_size)
        draw_tokens(films.squares[: len(numbers)], films.numbers[: len(numbers)], colours, place / "tokens.png")
    if cfg.point is not None:
        draw_points(place, cfg, explainable, films)


def in_a_file_name(finding: str) -> str:
    """A finding's name with nothing but letters, digits, dots and dashes."""
    return re.sub(r"[^\w.-]", "_", finding)


def explained_case(
    explainable: Explainable, films: Films, number: int, maps: Mapping[str, Float32[np.ndarray, "K R C"]]
) -> Explained:
    """One case with its maps at the film's size, and the boxes as they lie in what the network sees."""
    case = films.cases[number]
    images, classes = batch_of(explainable, films, [case])
    with torch.inference_mode():
        probability = float(explainable.probabilities(images)[0, int(classes[0])])
    square = films.squares[case.film]
    heats = {title: at_size(each[number], len(square)) for title, each in maps.items()}
    return Explained(films.numbers[case.film], case.finding, probability, square, seen_boxes(films, case), heats)


def seen_boxes(films: Films, case: Case) -> tuple[tuple[float, float, float, float], ...]:
    """Boxes in unit coordinates of the network's square, which may be the middle of the film."""
    zoom = 1.0 if films.resize_to is None else films.resize_to / films.squares.shape[1]
    return tuple(
        (0.5 + (box.x - 0.5) * zoom, 0.5 + (box.y - 0.5) * zoom, box.width * zoom, box.height * zoom)
        for box in case.boxes
    )


def colours_of(
    explainable: Explainable, films: Films, numbers: Sequence[int], batch_size: int
) -> Float[np.ndarray, "F R C 3"]:
    """The patch tokens of some films as colours, which mean the same on all of them."""
    starts = range(0, len(numbers), batch_size)
    cases = ([Case(number, 0, "") for number in numbers[start : start + batch_size]] for start in starts)
    return pca_colours(explainable, (batch_of(explainable, films, each)[0] for each in cases))


def draw_points(folder: Path, cfg: DictConfig, explainable: Explainable, films: Films) -> None:
    """For the first films what the patch at `point` attends to, in the mean and by head."""
    point = (float(cfg.point[0]), float(cfg.point[1]))
    num_heads = int(explainable.blocks[-1].attn.num_heads)  # type: ignore[arg-type, union-attr]
    heads = list(cfg.heads) if cfg.heads is not None else list(range(num_heads))
    for number in range(min(cfg.num_figures, len(films.names))):
        images, _ = batch_of(explainable, films, [Case(number, 0, "")])
        points, size = torch.tensor([point]), images.shape[-1]
        maps = {"mean": reference_attention(explainable, images, points, heads=heads)}
        maps |= {f"head {head}": reference_attention(explainable, images, points, heads=[head]) for head in heads}
        heats = {name: at_size(each[0].cpu().numpy(), size) for name, each in maps.items()}
        file = folder / f"point-{films.numbers[number]:06d}.png"
        draw_point(films.squares[number], films.numbers[number], point, heats, file)
