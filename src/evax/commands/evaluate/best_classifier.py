"""What a trained classifier is worth: its best checkpoint scores the test films once, into a report card."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32, Int
from omegaconf import DictConfig

from evax.checkpoints.files import read_checkpoint
from evax.checkpoints.weight_files import BEST
from evax.commands.evaluate.card import PREDICTIONS, Scored, labelled, write_card
from evax.config import ConfigError, instantiate
from evax.data.files import on_one_line
from evax.data.module import PackDataModule
from evax.evaluation.predictions import ids_digest
from evax.evaluation.report_card import CardOptions, Predicted
from evax.progress import tracked
from evax.runs.build import build_task
from evax.runs.choice import notes_on_start
from evax.runs.progress import notes_on_progress
from evax.runs.record import RESULT
from evax.runs.subject import run_identity
from evax.tasks.base import Task
from evax.tasks.classification import Classifier

log = logging.getLogger(__name__)

TRAINING_FILMS = "train.txt"
DRAWS = 1000  # of the bootstrap over patients


def score(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Write predictions by film, report card, figures and results.json of a classifier's best checkpoint."""
    data: PackDataModule = instantiate(cfg.data)
    task = cast("Classifier", best_task(cfg, data, run_dir))
    splits = ("val", "test") if data.has_val_apart else ("test",)
    parts = {split: predicted(data, task, data.rows(split)) for split in splits}
    options = CardOptions(exclusive=task.is_exclusive, num_draws=DRAWS, seed=cfg.seed)
    card, summary = write_card(run_dir, data, parts, scored(cfg, data, run_dir), options)
    tell_films(data, run_dir)
    log.info("%s\nwritten: %s", summary.rstrip(), run_dir / RESULT)
    return {"test/auroc_macro": card.metrics["auroc"].macro.value}


def scored(cfg: DictConfig, data: PackDataModule, run_dir: Path) -> Scored:
    """A run as its results file calls it."""
    recipe = cfg.get("recipe")
    return Scored(
        name=cfg.name,
        method=cfg.name,
        protocol=cfg.protocol,
        recipe=recipe or "",
        identity=run_identity(cfg) | {"protocol": cfg.protocol, "recipe": recipe},
        num_train=len(data.train_rows),
        train_ids_digest=ids_digest(np.array(data.pack.texts("image_id", data.train_rows))),
        notes=[*notes_on_progress(run_dir), *notes_on(cfg, data), *notes_on_start(cfg)],
    )


def notes_on(cfg: DictConfig, data: PackDataModule) -> list[str]:
    """What a reader of the scores must know."""
    notes = ["control: the training films have each other's labels"] if data.shuffle_labels else []
    published, fit = (cfg.data.get("published") or {}).get("fit"), data.pack.manifest.fit
    if cfg.protocol == "official" and published not in (None, fit):
        notes.append(f"films are framed by fit={fit}; the published code shows their middle, fit={published}")
    if "val" in data.fit_on:
        notes.append("the val films trained, too: there are no thresholds and no temperature")
    return notes


def tell_films(data: PackDataModule, run_dir: Path) -> None:
    """Write the ids of the films that trained, one a line, where they are a fraction; say where test films chose.

    `results.json` has the digest of those ids.
    """
    if data.fraction < 1:
        names = data.pack.texts("image_id", data.train_rows)
        (run_dir / PREDICTIONS / TRAINING_FILMS).write_text(
            "".join(f"{on_one_line(name)}\n" for name in names), encoding="utf-8"
        )
    if data.select_on == "test":
        log.info("protocol=official: the best checkpoint was chosen on the test films")


def best_task(cfg: DictConfig, data: PackDataModule, run_dir: Path) -> Task:
    """The task with the weights of `best.ckpt`, in evaluation mode, on a GPU where there is one."""
    if not (run_dir / BEST).exists():
        raise ConfigError(f"{run_dir} has no {BEST}: no validation could score a film; are there positives in val?")
    task = build_task(cfg, data, has_checkpoint=True)
    checkpoint = read_checkpoint(run_dir / BEST)
    task.load_state_dict(checkpoint["state_dict"])
    task.adopt_preprocessing(checkpoint)
    return task.eval().to("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def predicted(data: PackDataModule, task: Classifier, rows: Int[np.ndarray, "R"]) -> Predicted:
    """Logits of some rows, in float32, beside who the films are and what they show."""
    batches = data.local_loader(data.dataset(rows))
    return Predicted(labelled(data, rows), logits_of(task, tracked(batches, "scoring batches", len(batches))))


def logits_of(task: Classifier, batches: Iterable[dict[str, Any]]) -> Float32[np.ndarray, "N C"]:
    """Logits of all films of some batches, in their order."""
    return np.concatenate([task.logits(batch["image"].to(task.device)).numpy() for batch in batches])
