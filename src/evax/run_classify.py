"""What a trained classifier is worth: its best checkpoint scores the test films once, into a report card."""

import json
import logging
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int
from omegaconf import DictConfig

from evax.checkpoints.files import read_checkpoint
from evax.checkpoints.weight_files import BEST
from evax.config import ConfigError, instantiate
from evax.data.module import PackDataModule
from evax.evaluation.predictions import ids_digest, write_predictions
from evax.evaluation.report_card import CardOptions, Predicted, ReportCard, report_card
from evax.evaluation.study import LabelledFilms, estimate_to_json
from evax.evaluation.subgroups import by_age, by_sex, by_view
from evax.report.card import write_card_figures
from evax.report.record import Result
from evax.report.summary import summarise
from evax.run import without_weights
from evax.run_evaluate import RESULT, SUMMARY, command_line, commit, digest
from evax.run_features import run_identity
from evax.tasks.classification import Classifier

log = logging.getLogger(__name__)

CARD, PREDICTIONS, FIGURES = "report_card.json", "predictions", "figures"
DRAWS = 1000  # of the bootstrap over patients


def score(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Write predictions by film, report card, figures and results.json of a classifier's best checkpoint."""
    data: PackDataModule = instantiate(cfg.data)
    task = best_classifier(cfg, data, run_dir)
    validation, test = (predicted(cfg, data, task, data.rows(split)) for split in ("val", "test"))
    for name, part in (("val", validation), ("test", test)):
        file = run_dir / PREDICTIONS / f"{name}.parquet"
        write_predictions(file, part.films.image_ids, task.scores(part.logits.astype(np.float32)), data.classes)
    options = CardOptions(exclusive=task.is_exclusive, num_draws=DRAWS, seed=cfg.seed)
    card = report_card(data.classes, test, validation, attributes(data, data.rows("test")), options)
    text = json.dumps(card.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    (run_dir / CARD).write_text(text + "\n", encoding="utf-8")
    write_card_figures(run_dir / CARD, run_dir / FIGURES)
    summary = write_result(cfg, data, card, run_dir)
    if data.select_on == "test":
        log.info("protocol=official: the best checkpoint was chosen on the test films, as the published code does")
    log.info("%s\nwritten: %s", summary.rstrip(), run_dir / RESULT)
    return {"test/auroc_macro": card.metrics["auroc"].macro.value}


def best_classifier(cfg: DictConfig, data: PackDataModule, run_dir: Path) -> Classifier:
    """The task with the weights of `best.ckpt`, in evaluation mode, on a GPU where there is one."""
    if not (run_dir / BEST).exists():
        raise ConfigError(f"{run_dir} has no {BEST}: no validation could score a finding; are there positives in val?")
    task: Classifier = instantiate(without_weights(cfg.model), classes=list(data.classes))
    checkpoint = read_checkpoint(run_dir / BEST)
    task.load_state_dict(checkpoint["state_dict"])
    task.adopt_preprocessing(checkpoint)
    return task.eval().to("cuda" if torch.cuda.is_available() else "cpu")


@torch.inference_mode()
def predicted(cfg: DictConfig, data: PackDataModule, task: Classifier, rows: Int[np.ndarray, "R"]) -> Predicted:
    """Logits of some rows, in the precision of the run's training, beside who the films are and what they show."""
    is_bf16 = cfg.trainer.precision == "bf16-mixed"
    with torch.autocast(task.device.type, dtype=torch.bfloat16) if is_bf16 else nullcontext():
        logits = logits_of(task, data.local_loader(data.dataset(rows)))
    return Predicted(labelled(data, rows), logits)


def logits_of(task: Classifier, batches: Iterable[dict[str, Any]]) -> Float32[np.ndarray, "N C"]:
    """Logits of all films of some batches, in their order."""
    return np.concatenate([task.logits(batch["image"].to(task.device)).numpy() for batch in batches])


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


def write_result(cfg: DictConfig, data: PackDataModule, card: ReportCard, run_dir: Path) -> str:
    """results.json, in the form that `results/` takes; returns its summary."""
    auroc = card.metrics["auroc"]
    scored = [name for name in card.findings if name not in auroc.not_scored]
    content = {
        "name": cfg.name,
        "method": cfg.name,
        "data": f"{data.pack.manifest.source}/{data.split}",
        "protocol": cfg.protocol,
        "recipe": "code" if cfg.protocol == "official" else "",
        "findings": scored,
        "auroc_macro": estimate_to_json(auroc.macro),
        "auroc": {name: estimate_to_json(auroc.per_class[name]) for name in scored},
        "chosen": None,
        "trials": [],
        "num_train": len(data.train_rows),
        "num_test": card.num_films,
        "num_test_patients": card.num_patients,
        "num_draws": DRAWS,
        "seed": cfg.seed,
        "train_ids_digest": ids_digest(np.array(data.pack.texts("image_id", data.train_rows))),
        "test_ids_digest": card.test_ids_digest,
        "config_hash": digest({"pack": data.pack.digest, "split": data.split, **run_identity(cfg)}),
        "commit": commit(),
        "command": command_line(),
        "comparisons": [],
        "notes": [],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (run_dir / RESULT).write_text(text, encoding="utf-8")
    summary = summarise(Result.from_json(text, RESULT))
    (run_dir / SUMMARY).write_text(summary, encoding="utf-8")
    return summary
