"""What scored films leave in a folder: predictions by film, a report card with its figures, and results.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from scipy.special import expit, softmax

from evax.data.atomic import write_json
from evax.data.module import PackDataModule
from evax.evaluation.predictions import write_predictions
from evax.evaluation.report_card import CardOptions, Predicted, ReportCard, report_card
from evax.evaluation.study import LabelledFilms, estimate_to_json
from evax.evaluation.subgroups import by_age, by_sex, by_view
from evax.report.card import write_card_figures
from evax.runs.progress import incomplete
from evax.runs.record import command_line, commit, digest, save_result

CARD, PREDICTIONS, FIGURES = "report_card.json", "predictions", "figures"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A classifier as a results file calls it; `identity` holds all settings that decide its scores, no paths.

    `train_ids_digest` and `num_train` are of the films that it was trained on, "" and 0 where nobody told.
    `not_scored` has findings that are not among the scored classes at all, and why.
    """

    name: str
    method: str
    protocol: str
    recipe: str
    identity: Mapping[str, Any]
    num_train: int = 0
    train_ids_digest: str = ""
    notes: list[str] = field(default_factory=list)
    not_scored: Mapping[str, str] = field(default_factory=dict)


def write_card(
    folder: Path,
    data: PackDataModule,
    parts: Mapping[str, Predicted],
    scored: Scored,
    options: CardOptions,
) -> tuple[ReportCard, str]:
    """Write everything about the "test" part of `parts`, and of its "val" part where that has films.

    Returns the card and its summary for the terminal.
    """
    for split, part in parts.items():
        logits = part.logits.astype(np.float64)
        odds = softmax(logits, axis=1) if options.exclusive else expit(logits)
        write_predictions(folder / PREDICTIONS / f"{split}.parquet", part.films.image_ids, odds, data.classes)
    card = report_card(data.classes, parts["test"], parts.get("val"), attributes(data, data.rows("test")), options)
    card = replace(card, not_scored=card.not_scored | dict(scored.not_scored))
    write_json(folder / CARD, card.to_json() | {"incomplete": incomplete(scored.notes)})
    write_card_figures(folder / CARD, folder / FIGURES)
    return card, write_result(folder, data, card, scored)


def labelled(data: PackDataModule, rows: Int[np.ndarray, "R"]) -> LabelledFilms:
    """Who the films of some rows are, and their classes."""
    return LabelledFilms(
        np.array(data.pack.texts("image_id", rows)),
        np.array(data.pack.texts("patient_id", rows)),
        *data.targets_of(rows),
    )


def attributes(data: PackDataModule, rows: Int[np.ndarray, "R"]) -> dict[str, np.ndarray]:
    """The group of each film by sex, age and view."""
    return {
        "sex": by_sex(data.pack.texts("sex", rows)),
        "age": by_age(np.asarray(data.pack.ages[rows], np.float64)),
        "view": by_view(data.pack.texts("view", rows)),
    }


def write_result(folder: Path, data: PackDataModule, card: ReportCard, scored: Scored) -> str:
    """results.json, in the form that `results/` takes; returns its summary."""
    auroc = card.metrics["auroc"]
    findings = [name for name in card.findings if name not in auroc.not_scored]
    content = {
        "name": scored.name,
        "method": scored.method,
        "data": f"{data.pack.manifest.source}/{data.split}",
        "protocol": scored.protocol,
        "recipe": scored.recipe,
        "findings": findings,
        "auroc_macro": estimate_to_json(auroc.macro),
        "auroc": {name: estimate_to_json(auroc.per_class[name]) for name in findings},
        "chosen": None,
        "trials": [],
        "num_train": scored.num_train,
        "num_test": card.num_films,
        "num_test_patients": card.num_patients,
        "num_draws": card.options.num_draws,
        "seed": card.options.seed,
        "train_ids_digest": scored.train_ids_digest,
        "test_ids_digest": card.test_ids_digest,
        "config_hash": digest({"pack": data.pack.digest, "split": data.split, **scored.identity}),
        "commit": commit(),
        "command": command_line(),
        "comparisons": [],
        "notes": scored.notes,
        **{name: getattr(card, name) for name in ("not_scored", "remarks", "no_interval")},
        "cautions": [*card.cautions, *thresholds_told(card)],
    }
    return save_result(folder, content)


def thresholds_told(card: ReportCard) -> list[str]:
    """Thresholds that few validation images chose, or none."""
    told = []
    for finding, words in card.threshold_remarks.items():
        value = card.thresholds[finding]
        told.append(f"{finding}: {words}" + ("" if np.isnan(value) else f" ({value:.3g})"))
    return told
