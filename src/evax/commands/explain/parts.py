"""The parts of an explanation that take long: made once, written whole, and found again by the next command."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from evax.commands.explain.films import Case, Films
from evax.config import ConfigError
from evax.data.atomic import write_atomically
from evax.evaluation.bootstrap import Estimate
from evax.evaluation.localisation_card import mean_over_patients
from evax.evaluation.study import estimate_to_json
from evax.explain import Explainable, Method, cascade, deletion, insertion, to_pixels
from evax.progress import tracked

log = logging.getLogger(__name__)

SETTINGS, MAPS, CHECKS = "settings.json", "maps", "checks"
SHARD = 64  # maps in a file, and the most that a kill can lose


class Mapped(NamedTuple):
    """Raw maps of all cases by one method, and what one cost."""

    maps: Float32[np.ndarray, "K R C"]
    seconds_per_film: float


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder; one that holds the same explanation, begun before, is gone on with, and another is refused."""
    file = folder / SETTINGS
    asked = json.loads(json.dumps(settings))
    if file.exists():
        begun = json.loads(file.read_text(encoding="utf-8"))
        if other := [key for key in {**begun, **asked} if begun.get(key) != asked.get(key)]:
            raise ConfigError(
                f"{folder} holds another explanation (its {', '.join(other)} differ); give this one a name=, or delete "
                "the folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, (json.dumps(asked, indent=1) + "\n").encode())


def mapped(folder: Path, method: Method, explainable: Explainable, films: Films, batch_size: int) -> Mapped:
    """The maps of a method, shard by shard; those that lie in the folder are read."""
    (folder / MAPS).mkdir(exist_ok=True)
    maps, seconds = [], 0.0
    for number, start in enumerate(range(0, len(films.cases), SHARD)):
        file = folder / MAPS / f"{method.name}-{number:03d}.npz"
        if not file.exists():
            _write_shard(file, method, explainable, films, films.cases[start : start + SHARD], batch_size)
        with np.load(file, allow_pickle=False) as shard:
            maps.append(shard["maps"])
            seconds += float(shard["seconds"])
    return Mapped(np.concatenate(maps), seconds / len(films.cases))


def _write_shard(
    file: Path, method: Method, explainable: Explainable, films: Films, cases: Sequence[Case], batch_size: int
) -> None:
    start, parts = time.perf_counter(), []
    for images, classes, _ in batches_of(explainable, films, cases, batch_size, f"{method.name} of {file.name}"):
        parts.append(method(explainable, images, classes).detach().float().cpu().numpy())
    content = io.BytesIO()
    np.savez(content, maps=np.concatenate(parts), seconds=time.perf_counter() - start)
    write_atomically(file, content.getvalue())
    log.info("%s: %d maps in %s", method.name, len(cases), file.name)


def batches_of(
    explainable: Explainable, films: Films, cases: Sequence[Case], batch_size: int, title: str
) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Images and classes of all cases, batch by batch, and which cases those are; `title` is of what is shown."""
    starts = range(0, len(cases), batch_size)
    for first in tracked(starts, f"{title}, in batches", len(starts)):
        chosen = slice(first, first + batch_size)
        yield *batch_of(explainable, films, cases[chosen]), chosen


def batch_of(explainable: Explainable, films: Films, cases: Sequence[Case]) -> tuple[Tensor, Tensor]:
    """Normalised images of some cases, on the model's device, and their columns among the logits."""
    device = next(explainable.backbone.parameters()).device
    squares = torch.from_numpy(films.squares[[case.film for case in cases]])[:, None]
    return explainable.images(squares.to(device)), torch.tensor([case.column for case in cases], device=device)


def at_size(heat: Float[np.ndarray, "R C"], size: int) -> Float[np.ndarray, "{size} {size}"]:
    """A raw map from 0 to 1 at a film's size."""
    return to_pixels(torch.from_numpy(heat)[None], size)[0].numpy()


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """What a json file of the folder says; where there is none, it is made and written."""
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, json.dumps(make(), allow_nan=False).encode())
    return json.loads(file.read_text(encoding="utf-8"))


def faithfulness(
    explainable: Explainable,
    films: Films,
    cases: Sequence[Case],
    maps: Float[np.ndarray, "K R C"],
    *,
    batch_size: int,
    num_draws: int,
    seed: int,
) -> dict[str, Any]:
    """Insertion and deletion of some cases: mean curves, and the area under them with its interval over patients."""
    found: dict[str, Any] = {}
    owners = films.patient_ids[[case.film for case in cases]]
    for name, measure in (("insertion", insertion), ("deletion", deletion)):
        curves = []
        for images, classes, chosen in batches_of(explainable, films, cases, batch_size, name):
            heat = to_pixels(torch.from_numpy(maps[chosen]), films.squares.shape[1])
            curves.append(measure(explainable, images, classes, heat.to(images.device)))
        found["shares"] = curves[0].shares.tolist()
        areas = torch.cat([curve.area for curve in curves]).double().numpy()
        area: Estimate = mean_over_patients(areas, owners, num_draws=num_draws, seed=seed)
        curve = torch.cat([curve.probabilities for curve in curves]).double().mean(0)
        found[name] = {"curve": curve.tolist(), "pooled": estimate_to_json(area)}
    return found


def randomisation(
    explainable: Explainable, films: Films, cases: Sequence[Case], method: Method, *, batch_size: int, seed: int
) -> dict[str, float | None]:
    """Mean rank correlation with the trained maps, by the layer down to which weights are shuffled."""
    by_layer: dict[str, list[float]] = {}
    for images, classes, _ in batches_of(explainable, films, cases, batch_size, f"randomisation of {method.name}"):
        for layer, rho in cascade(explainable, images, classes, method, seed=seed):
            by_layer.setdefault(layer, []).extend(rho[~np.isnan(rho)].tolist())
    return {layer: float(np.mean(values)) if values else None for layer, values in by_layer.items()}
