"""`explain.py`: maps of what a classifier looks at, scored on boxes, checked on the classifier, and drawn."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from evax.backbones.precision import full_precision
from evax.checkpoints.weight_files import find_file
from evax.commands.explain.asked import OF_NO_MODEL, check_asked, chosen_methods, folder_of
from evax.commands.explain.draw import draw
from evax.commands.explain.films import Films, boxed_films, folder_films
from evax.commands.explain.parts import CHECKS, Mapped, claim, faithfulness, kept, mapped, randomisation
from evax.commands.explain.scores import BASELINES, Scored, score, write_scores
from evax.config import EXPLAIN_KEYS, check_config
from evax.data.atomic import sha256_of, write_json
from evax.data.sources.tables import digest_of
from evax.evaluation.predictions import ids_digest
from evax.explain import METHODS, Explainable, Method
from evax.predict.classifier import FilmClassifier
from evax.predict.loading import load_classifier
from evax.report.explanation import table_of
from evax.runs.choice import choice_of
from evax.runs.record import RESULT, command_line, commit
from evax.runs.subject import read_run

log = logging.getLogger(__name__)

TABLE = "table.md"
PACKAGE = Path(__file__).parents[2]
MAKERS = ("explain/*.py", "commands/explain/films.py", "commands/explain/parts.py")  # the code that maps come from


@full_precision()
def explain(cfg: DictConfig, output_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Maps, scores, table and figures in `RUN/explanation/NAME`, or of a file in a folder of `output_dir`.

    Returns the share of peaks inside a box by the first method; nothing where there are no boxes.
    """
    check_config(cfg, EXPLAIN_KEYS)
    check_asked(cfg, overrides)
    if cfg.run is not None:
        read_run(Path(cfg.run))
    source = cfg.run or cfg.weights
    classifier = load_classifier(source, key=cfg.weights_key, image_size=cfg.image_size)
    explainable = Explainable(classifier.to("cuda" if torch.cuda.is_available() else "cpu"), cfg.layer)
    methods = chosen_methods(cfg, explainable)
    films = folder_films(cfg, classifier) if cfg.images is not None else boxed_films(cfg, classifier)
    folder = folder_of(cfg, Path(output_dir))
    claim(folder, settings_of(cfg, classifier, films))
    every = methods + ([METHODS[name] for name in OF_NO_MODEL] if films.has_boxes else [])
    maps = {method.name: mapped(folder, method, explainable, films, cfg.batch_size) for method in every}
    scored = score(films, maps, cfg, classifier) if films.has_boxes else None
    checks = check_methods(cfg, folder, explainable, films, methods, maps)
    result = result_of(cfg, folder, films, methods, maps, scored) | checks
    if scored is not None:
        write_scores(folder, films, scored)
    write_json(folder / RESULT, result)
    (folder / TABLE).write_text(table_of(result), encoding="utf-8")
    draw(folder, cfg, result, explainable, films, {method.name: maps[method.name].maps for method in methods})
    log.info("%s\nwritten: %s", table_of(result).rstrip(), folder)
    if scored is None:
        return {}
    return {"test/pointing": scored.found[methods[0].name].pooled["pointing"].value}


def settings_of(cfg: DictConfig, classifier: FilmClassifier, films: Films) -> dict[str, Any]:
    """What decides the maps, and with them all that follows; no paths."""
    chosen = {key: list(cfg[key]) if cfg[key] is not None else None for key in ("heads", "findings")}
    return (
        chosen
        | films.origin
        | {
            "weights": sha256_of(find_file(cfg.run or cfg.weights)),
            "image_size": classifier.view.image_size,
            "weights_key": cfg.weights_key,
            "films": ids_digest(np.array(films.names)),
            "code": digest_of_code(PACKAGE),
            **{key: cfg[key] for key in ("split", "protocol", "layer", "num_films", "num_checked", "draws", "seed")},
        }
    )


def digest_of_code(package: Path) -> str:
    """The sha256 of the sources that make maps and checks: what other code made is not gone on with."""
    return digest_of(package, [path for pattern in MAKERS for path in sorted(package.glob(pattern))])


def notes_on_choice(cfg: DictConfig) -> list[str]:
    """What `protocol` does not say, as it is of boxes and threshold alone: which films chose the weights."""
    choice = choice_of(Path(cfg.run or cfg.weights), key=cfg.weights_key)
    notes = choice.notes
    if choice.protocol == "official" and cfg.images is None:
        notes = [*notes, "the weights were chosen on test films (protocol=official of their training)"]
    if cfg.split == "val" and cfg.images is None:
        notes = [*notes, "val films chose the weights"]
    return notes


def check_methods(
    cfg: DictConfig,
    folder: Path,
    explainable: Explainable,
    films: Films,
    methods: Sequence[Method],
    maps: Mapping[str, Mapped],
) -> dict[str, Any]:
    """Faithfulness and randomisation of each method on the first cases, where they are asked for."""
    cases, size = films.cases[: cfg.num_checked], cfg.batch_size
    found: dict[str, Any] = {"faithfulness": {}, "randomisation": {}}
    for method in methods:
        first = maps[method.name].maps[: len(cases)]
        each = {"batch_size": size, "seed": cfg.seed}
        measure = partial(faithfulness, explainable, films, cases, first, num_draws=cfg.draws, **each)
        shuffle = partial(randomisation, explainable, films, cases, method, **each)
        for key, is_asked, make in (
            ("faithfulness", cfg.faithfulness, measure),
            ("randomisation", cfg.randomise, shuffle),
        ):
            if is_asked:
                found[key][method.name] = kept(folder / CHECKS / f"{key}-{method.name}.json", make)
                log.info("%s: %s done", method.name, key)
    return found


def result_of(
    cfg: DictConfig,
    folder: Path,
    films: Films,
    methods: Sequence[Method],
    maps: Mapping[str, Mapped],
    scored: Scored | None,
) -> dict[str, Any]:
    """What results.json says, beside the checks."""
    patients = {str(name) for name in films.patient_ids}
    return {
        "name": folder.name,
        "data": films.origin["data"],
        "split": cfg.split if cfg.images is None else "folder",
        "protocol": cfg.protocol,
        "methods": [method.name for method in methods],
        "baselines": list(BASELINES) if scored is not None else [],
        "titles": {name: METHODS[name].title for name in maps} | BASELINES,
        "findings": sorted({case.finding for case in films.cases}),
        "num_boxes": sum(len(case.boxes) for case in films.cases),
        "num_films": len(films.names),
        "num_patients": len(patients) if cfg.images is None else 0,
        "num_left_out": films.num_left_out,
        "num_checked": min(cfg.num_checked, len(films.cases)),
        "mean_area": scored.mean_area if scored is not None else None,
        "localisation": {name: each.to_json() for name, each in scored.found.items()} if scored is not None else {},
        "seconds_per_film": {method.name: maps[method.name].seconds_per_film for method in methods},
        "seed": cfg.seed,
        "num_draws": cfg.draws,
        "commit": commit(),
        "command": command_line(),
        "notes": films.notes + notes_on_choice(cfg),
        "not_scored": films.not_scored,
    }
