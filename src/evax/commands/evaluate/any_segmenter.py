"""`evaluate.py features=segmenter`: what a trained segmenter is worth on the test films of any pack with masks."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from evax.commands.evaluate.any_classifier import films_of_run, named, notes_on_view
from evax.commands.evaluate.any_classifier import scored as scored_file
from evax.commands.evaluate.best_classifier import scored as scored_run
from evax.commands.evaluate.best_segmenter import Setting, score_films
from evax.config import EVALUATE_KEYS, ConfigError, check_config, instantiate
from evax.data.masks import shares
from evax.data.module import PackDataModule
from evax.data.pack import Pack
from evax.data.sides import sided
from evax.evaluation.segmenting import Inference
from evax.predict.loading import load_segmenter
from evax.predict.segmenter import FilmSegmenter
from evax.runs.gate import check_patients, check_val
from evax.runs.settings import is_segmenter, settle_mask
from evax.runs.subject import read_run

KEYS = (
    *("run", "weights", "data", "paths", "features", "flip", "window", "stride"),
    *("name", "method", "notes", "seed", "draws", "backbone", "batch_size"),
)
log = logging.getLogger(__name__)


def score_masks(cfg: DictConfig, output_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Report card, masks, figures and results.json of `cfg.run` on its own data, or of `cfg.weights` on `cfg.data`.

    Nothing is trained. Thresholds come from the pack's validation films, where its split has some that did not train,
    else from the weights. A run's scores lie in its folder `evaluation/`, named by the inference.
    """
    check_config(cfg, EVALUATE_KEYS)
    inference = checked(cfg, overrides)
    saved = read_run(Path(cfg.run)) if cfg.run is not None else None
    if saved is not None and not is_segmenter(saved):
        raise ConfigError(f"run={cfg.run}: was not trained for segmentation; features=segmenter is for such runs")
    source = cfg.run if cfg.run is not None else cfg.weights
    segmenter = load_segmenter(source, key=cfg.backbone.weights_key)
    segmenter.to("cuda" if torch.cuda.is_available() else "cpu")
    check_sides(inference, segmenter.classes)
    if saved is not None:
        data = films_of_run(cfg, saved, overrides)
        about, may_fit = scored_run(saved, data, Path(cfg.run)), data.has_val_apart
    else:
        about = scored_file(cfg, segmenter.view)
        data = films_with_masks(cfg, segmenter, about.protocol, overrides)
        may_fit, notes = check_val(check_patients(Path(cfg.weights), data), data)
        about = replace(about, notes=[*about.notes, *notes, *notes_on_view(segmenter.view, data)])
    about = replace(about, notes=[*about.notes, *notes_on_values(data)])
    folder = Path(cfg.run) / "evaluation" / name_of(inference) if cfg.run is not None else Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    known = segmenter.thresholds if segmenter.has_thresholds else None
    setting = Setting(
        inference=inference,
        known=known,
        may_fit=may_fit,
        num_draws=cfg.draws,
        seed=cfg.seed,
    )
    how = "" if inference == Inference() else f" ({inference})"
    return score_films(segmenter.logits, data, folder, named(about, cfg, how), setting)


def checked(cfg: DictConfig, overrides: Sequence[str]) -> Inference:
    """How films are shown; ConfigError for words that are for another evaluation, or that say too little."""
    words = [word.lstrip("+~").partition("=")[0].partition(".")[0] for word in overrides]
    if strange := [word for word in words if word not in KEYS]:
        known = ", ".join(KEYS)
        raise ConfigError(f"{strange[0]}: features=segmenter scores as it was trained; only {known} are for it")
    if (cfg.run is None) == (cfg.weights is None):
        raise ConfigError("features=segmenter needs one of run=RUN_DIR, or weights=RUN_OR_FILE and the data to score")
    if cfg.run is not None and "data" in words:
        raise ConfigError(f"data: run={cfg.run} is scored on its own data; give weights={cfg.run} and data= for others")
    for key in ("window", "stride"):
        if cfg[key] is not None and (not isinstance(cfg[key], int) or cfg[key] < 1):
            raise ConfigError(f"{key}={cfg[key]}: give a whole number of pixels of the stored films")
    if cfg.stride is not None and (cfg.window is None or cfg.stride > cfg.window):
        raise ConfigError(f"stride={cfg.stride}: is how far windows are apart, at most window={cfg.window}")
    return Inference(flip=bool(cfg.flip), window=cfg.window, stride=cfg.stride)


def check_sides(inference: Inference, classes: Sequence[str]) -> None:
    """Refuse to mirror films for classes that a mirror exchanges."""
    if inference.flip and (names := sided(classes)):
        raise ConfigError(f"flip=true: a mirror makes another side of {names[0]}; leave it out")


def films_with_masks(
    cfg: DictConfig, segmenter: FilmSegmenter, protocol: str, overrides: Sequence[str]
) -> PackDataModule:
    """The films of `cfg.data` as the segmenter sees them, split and masks as the protocol of its training scores them.

    What the command line says of either stands. Raises ConfigError where the masks have other classes.
    """
    view, node = segmenter.view, cfg.data.copy()
    if node.get("masks") is not None:
        settle_mask(node.masks, protocol)
        is_named = any(word.lstrip("+").startswith("data.split=") for word in overrides)
        if protocol == "official" and not is_named and "official" in Pack(node.pack).schemes:
            node.split = "official"
    seen: dict[str, Any] = {"image_size": view.image_size, "resize_to": view.resize_to, "fit_on": [], "labels": None}
    data: PackDataModule = instantiate(node, **seen)
    if data.classes != segmenter.classes:
        theirs = ", ".join(data.classes) if data.masks is not None else "none"
        raise ConfigError(
            f"data.masks: its classes are {theirs}, and weights={cfg.weights} segments {', '.join(segmenter.classes)}; "
            "say by data.masks.mask and data.masks.classes which values mean those"
        )
    return data


def notes_on_values(data: PackDataModule) -> list[str]:
    """Which values of the masks are scored as background though nothing says that they are."""
    assert data.masks is not None
    pixels = data.pack.mask_pixels(data.masks.name)
    left = data.masks.unclaimed(pixels)
    return [f"mask {data.masks.name}: no class has {shares(left, pixels)}; scored as background"] if left else []


def name_of(inference: Inference) -> str:
    """The folder of an evaluation: segmenter, segmenter_flip, segmenter_window_512_256."""
    words = re.findall(r"[a-z0-9]+", str(inference).removeprefix("whole film"))
    return "_".join(["segmenter", *(word for word in words if word != "stride")])
