"""What scored masks leave in a folder: masks, numbers by film, a report card with its figures, and results.json."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64
from PIL import Image

from evax.commands.evaluate.card import CARD, FIGURES, PREDICTIONS, Scored
from evax.data.atomic import write_json
from evax.data.manifest import IDENTITY
from evax.data.module import PackDataModule
from evax.evaluation.mask_tables import write_mask_table
from evax.evaluation.metric import Metric
from evax.evaluation.scorable import MACRO
from evax.evaluation.segmentation import FN, TP, dice
from evax.evaluation.segmentation_card import SegmentationCard, Segmented, ThresholdFrom, segmentation_card
from evax.evaluation.study import estimate_to_json
from evax.predict.mask_folder import MASKS
from evax.report.canvas import stamped
from evax.report.segmentation import NUM_WORST, Shown, draw_overlays, draw_worst, write_score_figures
from evax.report.segmentation_record import MEAN
from evax.runs.progress import incomplete
from evax.runs.record import command_line, commit, digest, save_result

TABLE = "test.parquet"  # in PREDICTIONS, beside MASKS
NUM_SHOWN = 5  # films from the best to the worst


class Findings(NamedTuple):
    """Test films by `rows` of the pack with their counts at `thresholds`, and how those were chosen and made."""

    rows: Int[np.ndarray, "N"]
    test: Segmented
    val_curve: Int64[np.ndarray, "V K T 4"] | None
    thresholds: Float64[np.ndarray, "K"]
    chosen_by: ThresholdFrom
    inference: str


def write_mask_card(
    folder: Path, data: PackDataModule, found: Findings, about: Scored, *, num_draws: int, seed: int
) -> tuple[SegmentationCard, str]:
    """Write everything about test films whose masks are in `folder`; returns the card and a summary."""
    card = segmentation_card(
        data.classes,
        found.test,
        found.val_curve,
        found.thresholds,
        found.chosen_by,
        num_draws=num_draws,
        seed=seed,
    )
    table = folder / PREDICTIONS / TABLE
    write_mask_table(table, found.test, found.rows, data.classes)
    told = incomplete(about.notes)
    write_json(folder / CARD, card.to_json() | {"inference": found.inference, "incomplete": told})
    with stamped(told):
        draw_films(folder, data, found)
    write_score_figures(folder / CARD, table, folder / FIGURES)
    return card, write_result(folder, data, card, about, found.inference)


def draw_films(folder: Path, data: PackDataModule, found: Findings) -> None:
    """Films from the best to the worst, and the worst ones, by their mean Dice over the classes."""
    counts = found.test.counts.counts[:, 1:]
    scores = np.nan_to_num(dice(counts), nan=1.0).mean(1)  # empty as empty is right
    order = np.argsort(scores, kind="stable")

    def shown(place: int) -> Shown:
        row = int(found.rows[place])
        prediction = np.array(Image.open(folder / PREDICTIONS / MASKS / f"{row}.png"))
        return Shown(row, data.pack.image(row), data.mask_of(row), prediction, float(scores[place]))

    is_positive = (counts[..., TP] + counts[..., FN]).sum(1) > 0
    best_first = (order[is_positive[order]] if is_positive.any() else order)[::-1]
    places = np.unique(np.linspace(0, len(best_first) - 1, NUM_SHOWN).round().astype(int))
    films = [shown(int(best_first[place])) for place in places]
    draw_overlays(films, data.classes, "Films from the best to the worst", folder / FIGURES / "overlays.png")
    worst = [shown(int(place)) for place in order[:NUM_WORST]]
    draw_worst(worst, data.classes, folder / FIGURES / "worst.png")


def write_result(folder: Path, data: PackDataModule, card: SegmentationCard, about: Scored, inference: str) -> str:
    """results.json, in the form that `results/segmentation/` takes; returns its summary."""
    content: dict[str, Any] = {
        "task": "segmentation",
        "name": about.name,
        "method": about.method,
        "data": f"{data.pack.manifest.source}/{data.split}",
        "protocol": about.protocol,
        "recipe": about.recipe,
        "classes": list(card.classes),
        "inference": inference,
        "thresholds": dict(zip(card.classes, card.thresholds, strict=True)),
        "threshold_from": card.threshold_from,
        "scores": {name: estimates(metric) for name, metric in card.metrics.items()},
        "numbers": card.numbers,
        "num_train": about.num_train,
        "num_test": card.num_films,
        "num_test_patients": card.num_patients,
        "num_draws": card.num_draws,
        "seed": card.seed,
        "train_ids_digest": about.train_ids_digest,
        "test_ids_digest": card.test_ids_digest,
        "config_hash": digest(
            {"pack": data.pack.digest, "split": data.split, "inference": inference, **about.identity}
        ),
        "commit": commit(),
        "command": command_line(),
        "notes": about.notes + notes_on(data, card),
        "mask": mask_name(data),
        "frame": data.pack.image_size,
        "remarks": card.remarks,
        "no_interval": {MEAN if name == MACRO else name: why for name, why in card.no_interval.items()},
        "threshold_remarks": card.threshold_remarks,
    }
    return save_result(folder, content)


def mask_name(data: PackDataModule) -> str:
    """Which of the pack's masks is the truth."""
    return data.masks.name if data.masks is not None else ""


def estimates(metric: Metric) -> dict[str, dict[str, float | None]]:
    """Each class with its interval, and the mean."""
    return {name: estimate_to_json(each) for name, each in (metric.per_class | {MEAN: metric.macro}).items()}


def notes_on(data: PackDataModule, card: SegmentationCard) -> list[str]:
    """What a reader of the scores must know."""
    notes = [f"mask {mask_name(data)}; masks and films of {data.pack.image_size} pixels; distances are in those"]
    if unknown := data.pack.manifest.provenance.get(IDENTITY):
        notes.append(unknown)
    if card.threshold_from == "official":
        notes.append("threshold 0.3, the default of the published code's framework, chosen on no film of ours")
    if card.threshold_from == "nothing":
        notes.append("threshold 0.5: no validation film was kept from training to choose one")
    unshown = [name for name, of in card.numbers.items() if not of["positive"]]
    return notes + [f"no test film shows {name}" for name in unshown]
