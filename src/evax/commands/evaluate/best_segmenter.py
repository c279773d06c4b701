"""What a trained segmenter is worth: its best checkpoint scores the masks of the test films once."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int, Int64
from omegaconf import DictConfig
from torch import Tensor

from evax.commands.evaluate.best_classifier import DRAWS, best_task, scored, tell_films
from evax.commands.evaluate.card import PREDICTIONS, Scored
from evax.commands.evaluate.mask_card import Findings, write_mask_card
from evax.config import instantiate
from evax.data.module import PackDataModule
from evax.evaluation.segmentation import (
    MIDDLE,
    OFFICIAL,
    count_film,
    curve_of_film,
    decide,
    fitted_thresholds,
    stack,
)
from evax.evaluation.segmentation_card import Segmented, ThresholdFrom
from evax.evaluation.segmenting import Inference, Model, fit_to, foreground
from evax.predict.mask_folder import MASKS, save_mask
from evax.progress import tracked
from evax.runs.record import RESULT
from evax.tasks.segmentation import Segmenter

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How masks are made and scored: inference, where thresholds come from, and the bootstrap."""

    inference: Inference = field(default_factory=Inference)
    known: tuple[float, ...] | None = None
    may_fit: bool = True  # thresholds on validation films
    num_draws: int = DRAWS
    seed: int = 0


def score_segmenter(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Write masks and numbers by film, report card, figures and results.json of a segmenter's best checkpoint."""
    data: PackDataModule = instantiate(cfg.data)
    task = cast("Segmenter", best_task(cfg, data, run_dir))
    scores = score_films(task.logits, data, run_dir, scored(cfg, data, run_dir), Setting(seed=cfg.seed))
    tell_films(data, run_dir)
    return scores


def score_films(model: Model, data: PackDataModule, folder: Path, about: Scored, setting: Setting) -> dict[str, float]:
    """Score the test films of `data`, and write everything about them into `folder`."""
    applied = setting.inference.applied(model, data.image_size)
    rows = data.rows("test")
    with torch.inference_mode():
        may_fit = setting.may_fit and data.has_val_apart
        val_curve = curves(applied, data, data.rows("val"), setting.inference) if may_fit else None
        thresholds, chosen_by = chosen_thresholds(about.protocol, len(data.classes), val_curve, setting.known)
        test = counted(applied, data, rows, thresholds, setting.inference, folder / PREDICTIONS / MASKS)
    found = Findings(rows, test, val_curve, thresholds, chosen_by, str(setting.inference))
    card, summary = write_mask_card(folder, data, found, about, num_draws=setting.num_draws, seed=setting.seed)
    log.info("%s\nwritten: %s", summary.rstrip(), folder / RESULT)
    return {"test/dice_pooled": card.metrics["dice_pooled"].macro.value}


def chosen_thresholds(
    protocol: str, num_classes: int, val_curve: Int64[np.ndarray, "V K T 4"] | None, known: tuple[float, ...] | None
) -> tuple[Float64[np.ndarray, "K"], ThresholdFrom]:
    """The published 0.3 of one class under official; else the best on validation films, the weights' own, or 0.5."""
    if protocol == "official" and num_classes == 1:
        return np.array([OFFICIAL]), "official"
    if val_curve is not None:
        return fitted_thresholds(val_curve), "validation films"
    return (np.array(known), "weights") if known is not None else (np.full(num_classes, MIDDLE), "nothing")


def curves(
    model: Model, data: PackDataModule, rows: Int[np.ndarray, "V"], inference: Inference
) -> Int64[np.ndarray, "V K T 4"]:
    """Counts of films at every threshold."""
    films = probabilities(model, data, rows, inference)
    return np.stack([curve_of_film(odds, data.mask_of(row)) for row, odds in films])


def counted(
    model: Model,
    data: PackDataModule,
    rows: Int[np.ndarray, "N"],
    thresholds: Float64[np.ndarray, "K"],
    inference: Inference,
    folder: Path,
) -> Segmented:
    """Counts of films at `thresholds`, in the order of `rows`; their masks are left in `folder`, named by row."""
    films = []
    for row, odds in probabilities(model, data, rows, inference):
        films.append(count_film(odds, data.mask_of(row), thresholds))
        save_mask(decide(odds, thresholds), folder / f"{row}.png")
    ids, patients = (np.array(data.pack.texts(name, rows)) for name in ("image_id", "patient_id"))
    return Segmented(ids, patients, stack(films))


def probabilities(
    model: Model, data: PackDataModule, rows: Int[np.ndarray, "N"], inference: Inference
) -> Iterator[tuple[int, Float32[np.ndarray, "K H W"]]]:
    """Each film's row, and the probabilities of its pixels at the size of the pack's masks."""
    side = data.pack.image_size
    for row, logits in logits_of_films(model, data, rows, inference):
        yield row, foreground(fit_to(logits[None].float(), (side, side)))[0].cpu().numpy()


def logits_of_films(
    model: Model, data: PackDataModule, rows: Int[np.ndarray, "N"], inference: Inference
) -> Iterator[tuple[int, Tensor]]:
    """Each film's row and logits (C, h, w): of what evaluation sees, or of the stored film for a sliding window."""
    if inference.window is not None:
        for row in tracked(rows.tolist(), "segmenting images", len(rows)):
            yield row, model(torch.from_numpy(data.pack.image(row))[None, None])[0]
        return
    batches = data.local_loader(data.dataset(rows))
    for batch in tracked(batches, "segmenting batches", len(batches)):
        yield from zip(batch["row"].tolist(), model(batch["image"]), strict=True)
