"""`evaluate.py features=classifier`: what a trained classifier is worth on the test films of any labelled pack."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from omegaconf import DictConfig

from evax.checkpoints.weight_files import find_file
from evax.commands.evaluate.best_classifier import scored as scored_run
from evax.commands.evaluate.card import Scored, labelled, write_card
from evax.config import EVALUATE_KEYS, ConfigError, check_config, instantiate
from evax.data.atomic import sha256_of
from evax.data.film_view import FilmView
from evax.data.findings import SYNONYMS
from evax.data.module import PackDataModule
from evax.evaluation.report_card import CardOptions, Predicted
from evax.evaluation.scorable import NO_OUTPUT
from evax.predict.classifier import FilmClassifier
from evax.predict.loading import load_classifier
from evax.progress import tracked
from evax.runs.choice import choice_of
from evax.runs.gate import check_patients, check_val
from evax.runs.record import RESULT
from evax.runs.settings import is_classifier, settle_published
from evax.runs.subject import read_run

KEYS = (
    *("run", "weights", "data", "paths", "features"),
    *("name", "method", "notes", "seed", "draws", "backbone", "batch_size"),
)
POLICY = {"_target_": "evax.data.labels.LabelPolicy"}  # uncertain labels are not scored, unmentioned findings absent
log = logging.getLogger(__name__)


def score_classifier(cfg: DictConfig, output_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Report card, figures and results.json of `cfg.run` on its own data, or of `cfg.weights` on `cfg.data`.

    Nothing is trained. The classes are those that the classifier and the pack share, under either's name. Thresholds
    and the temperature come from the pack's validation films, where its split has some that did not train. A run's
    scores lie in its folder `evaluation/classifier`.
    """
    check_config(cfg, EVALUATE_KEYS)
    check_words(cfg, overrides)
    saved = read_run(Path(cfg.run)) if cfg.run is not None else None
    if saved is not None and not is_classifier(saved):
        raise ConfigError(f"run={cfg.run}: was not trained for classification; features=classifier is for such runs")
    classifier = load_classifier(cfg.run or cfg.weights, key=cfg.backbone.weights_key)
    classifier.to("cuda" if torch.cuda.is_available() else "cpu")
    if saved is not None:
        data, columns = films_of_run(cfg, saved, overrides), list(range(len(classifier.classes)))
        about, may_fit = named(scored_run(saved, data, Path(cfg.run)), cfg), data.has_val_apart
    else:
        about = scored(cfg, classifier.view)
        data, columns = labelled_films(cfg, classifier, about.protocol)
        about = replace(about, not_scored=not_shared(classifier.classes, data.pack.findings))
        may_fit, notes = check_val(check_patients(Path(cfg.weights), data), data)
        about = replace(about, notes=[*about.notes, *notes, *notes_on_view(classifier.view, data)])
    splits = ("val", "test") if may_fit else ("test",)
    parts = {split: predicted(classifier, data, data.rows(split), columns) for split in splits}
    folder = Path(cfg.run) / "evaluation" / "classifier" if cfg.run is not None else Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    options = CardOptions(exclusive=classifier.is_exclusive, num_draws=cfg.draws, seed=cfg.seed)
    card, summary = write_card(folder, data, parts, about, options)
    log.info("%s\nwritten: %s", summary.rstrip(), folder / RESULT)
    return {"test/auroc_macro": card.metrics["auroc"].macro.value}


def check_words(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse words that are for another evaluation, or that say too little or twice whose scores are meant."""
    words = {word: word.lstrip("+~").partition("=")[0].partition(".")[0] for word in overrides}
    if strange := [word for word, key in words.items() if key not in KEYS]:
        raise ConfigError(
            f"{strange[0]}: features=classifier scores as it was trained; only {', '.join(KEYS)} are for it"
        )
    if (cfg.run is None) == (cfg.weights is None):
        raise ConfigError("features=classifier needs one of run=RUN_DIR, or weights=RUN_OR_FILE and the data to score")
    if cfg.run is not None and "data" in words.values():
        raise ConfigError(f"data: run={cfg.run} is scored on its own data; give weights={cfg.run} and data= for others")


def films_of_run(cfg: DictConfig, saved: DictConfig, overrides: Sequence[str]) -> PackDataModule:
    """The films of a run, which train nothing here; `batch_size` of the command line stands in place of the run's."""
    is_given = any(word.lstrip("+").startswith("batch_size=") for word in overrides)
    asked: dict[str, Any] = {"batch_size": cfg.batch_size, "per_device_batch": None} if is_given else {}
    data: PackDataModule = instantiate(saved.data, augment=False, **asked)
    return data


def named(about: Scored, cfg: DictConfig, how: str = "") -> Scored:
    """The result by the name, method and notes that the user gave; `how` images were shown ends the method's name."""
    name = cfg.name or about.name
    notes = list(dict.fromkeys([*cfg.notes, *about.notes]))
    return replace(about, name=name, method=cfg.method or f"{name}{how}", notes=notes)


def labelled_films(cfg: DictConfig, classifier: FilmClassifier, protocol: str) -> tuple[PackDataModule, list[int]]:
    """The films of `cfg.data` as the classifier sees them, labelled with the shared classes, and the logits of those.

    Where no split is named, it is that of the protocol. Raises ConfigError where no class is shared, or an exclusive
    one is missing.
    """
    view = classifier.view
    seen: dict[str, Any] = {"image_size": view.image_size, "resize_to": view.resize_to, "fit_on": []}
    node = cfg.data.copy()
    settle_published(node, protocol)
    pack = instantiate(node, **seen).pack
    names = shared_classes(classifier.classes, pack.findings)
    lost = [each for each in classifier.classes if each not in names]
    if lost and (classifier.is_exclusive or len(lost) == len(classifier.classes)):
        raise ConfigError(
            f"weights={cfg.weights}: the images of {cfg.data.pack} are not labelled with {', '.join(lost)}; "
            f"they have {', '.join(pack.findings)}"
        )
    labels = {**POLICY, "findings": list(names.values())}
    data: PackDataModule = instantiate(node, **seen, labels=labels)
    return data, [classifier.classes.index(each) for each in names]


def shared_classes(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Each of our classes that a pack has, and what the pack calls it."""
    meaning = {SYNONYMS.get(name, name): name for name in theirs}
    return {name: meaning[SYNONYMS.get(name, name)] for name in ours if SYNONYMS.get(name, name) in meaning}


def not_shared(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """The classes that only one of a classifier and a pack has, and why they are not scored."""
    shared = shared_classes(ours, theirs)
    lost = {name: "the images are not labelled with it" for name in ours if name not in shared}
    return lost | {name: NO_OUTPUT for name in theirs if name not in shared.values()}


@torch.inference_mode()
def predicted(
    classifier: FilmClassifier, data: PackDataModule, rows: Int[np.ndarray, "R"], columns: Sequence[int]
) -> Predicted:
    """Logits of the shared classes for some rows, in float32."""
    batches = data.local_loader(data.dataset(rows))
    squares = (batch["image"].to(classifier.device) for batch in tracked(batches, "scoring batches", len(batches)))
    logits = [classifier(classifier.images(each)).float().cpu().numpy() for each in squares]
    return Predicted(labelled(data, rows), np.concatenate(logits)[:, list(columns)])


def notes_on_view(view: FilmView, data: PackDataModule) -> list[str]:
    """What must be said where the films of a pack were framed in another way than those of the training."""
    pack = data.pack.manifest
    if view.frame is None and pack.fit == "stretch":
        return [f"trained on the middle of films; these are stretched to {pack.size} pixels"]
    if view.frame is not None and (view.frame, view.fit) != (pack.size, pack.fit):
        theirs = f"{view.frame} pixels ({view.fit})"
        return [f"trained on films framed to {theirs}; these are framed to {pack.size} ({pack.fit})"]
    return []


def scored(cfg: DictConfig, view: FilmView) -> Scored:
    """A file or run as its results file calls it; `view` is what its network sees of a film."""
    weights = Path(cfg.weights)
    identity = {"sha256": sha256_of(find_file(cfg.weights)), "image_size": view.image_size, "resize_to": view.resize_to}
    name = cfg.name or weights.stem
    protocol, recipe, notes = choice_of(weights, key=cfg.backbone.weights_key)
    return Scored(
        name=name,
        method=cfg.method or name,
        protocol=protocol,
        recipe=recipe,
        identity=identity,
        notes=[*cfg.notes, *notes],
    )
