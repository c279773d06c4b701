"""`evaluate.py`: what frozen features are worth on a labelled pack, by a linear probe with intervals."""

import hashlib
import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from evax.checkpoints import load_weights
from evax.checkpoints.weight_files import CONFIG
from evax.config import EVALUATE_KEYS, ConfigError, check_config, instantiate, nearest
from evax.data.labels import resolve_labels
from evax.data.module import PackDataModule
from evax.evaluation.bootstrap import paired_macro_difference
from evax.evaluation.floors import pixel_features, view_features
from evax.evaluation.predictions import read_predictions, write_predictions
from evax.evaluation.readouts import READOUTS, encode_rows
from evax.evaluation.study import Candidate, LabelledFilms, StudyResult, estimate_to_json, probe_study
from evax.report.record import Result
from evax.report.summary import summarise
from evax.run import best_precision, without_weights

log = logging.getLogger(__name__)

FEATURES = ("backbone", "random", "pixels", "view")
PRECISIONS = ("32-true", "bf16-mixed", "auto")
RESULT, PREDICTIONS, SUMMARY = "results.json", "predictions.parquet", "summary.txt"


def evaluate(cfg: DictConfig, output_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Probe frozen features: choose on train+val across patients, score test once, write results.json."""
    check_config(cfg, EVALUATE_KEYS)
    theirs = [word for word in overrides if word.lstrip("+~").startswith(("data", "image_size"))]
    if cfg.run is not None and theirs:
        raise ConfigError(f"{theirs[0]}: run={cfg.run} is evaluated on its own data; leave this out")
    if cfg.features not in FEATURES:
        raise ConfigError(f"features={cfg.features} is not known; choose one of {', '.join(FEATURES)}")
    if cfg.precision not in PRECISIONS:
        raise ConfigError(f"precision={cfg.precision} is not known; choose one of {', '.join(PRECISIONS)}")
    if cfg.features in ("backbone", "random") and cfg.run is None:
        raise ConfigError(f"features={cfg.features} needs run=RUN_DIR, the pre-trained run")
    saved = read_run(Path(cfg.run)) if cfg.run is not None else None
    data: PackDataModule = instantiate(saved.data if saved is not None else cfg.data)
    folder = Path(cfg.run) / "evaluation" / cfg.features if cfg.run is not None else Path(output_dir)
    study = run_study(cfg, data, candidates(cfg, data, saved))
    write_study(folder, cfg, data, study)
    log.info("%s\nwritten: %s", (folder / SUMMARY).read_text(encoding="utf-8").rstrip(), folder / RESULT)
    return {"test/auroc_macro": study.auroc_macro.value}


def read_run(run_dir: Path) -> DictConfig:
    """The configuration of a run; ConfigError where there is none."""
    if not (run_dir / CONFIG).exists():
        raise ConfigError(f"run={run_dir}: there is no {CONFIG}; name a run directory")
    return cast("DictConfig", OmegaConf.load(run_dir / CONFIG))


def candidates(cfg: DictConfig, data: PackDataModule, saved: DictConfig | None) -> dict[str, Candidate]:
    """The feature sets to choose from, for the films of train+val and of test."""
    fitting, test = data.rows("train", "val"), data.rows("test")
    if cfg.features == "view":
        return {"view": Candidate(*(view_features(data.pack.views[rows].tolist()) for rows in (fitting, test)))}
    if cfg.features == "pixels":
        films = ((data.pack.image(int(row)) for row in rows) for rows in (fitting, test))
        return {"pixels": Candidate(*map(pixel_features, films))}
    assert saved is not None
    names = list(cfg.readouts or READOUTS)
    if unknown := [name for name in names if name not in READOUTS]:
        raise ConfigError(f"readouts: there is no {unknown[0]!r}; {nearest(unknown[0], READOUTS)}")
    backbone = build_backbone(saved, Path(cfg.run) if cfg.features == "backbone" else None)
    precision = best_precision("auto") if cfg.precision == "auto" else cfg.precision
    fitted, tested = (
        encode_rows(backbone, names, data, rows, bf16=precision == "bf16-mixed") for rows in (fitting, test)
    )
    return {name: Candidate(fitted[name], tested[name]) for name in names}


def build_backbone(saved: DictConfig, weights: Path | None) -> nn.Module:
    """The run's backbone, with the weights of its best checkpoint or as it was before training."""
    torch.manual_seed(saved.seed)
    backbone: nn.Module = instantiate(without_weights(saved.model).backbone)
    if weights is not None:
        log.info("%s", load_weights(backbone, weights))
    return backbone.eval()


def labelled(data: PackDataModule, rows: np.ndarray) -> LabelledFilms:
    """Who the films of some rows are and what they show."""
    targets, is_known = resolve_labels(data.pack.labels[rows], data.pack.findings)
    return LabelledFilms(data.pack.image_ids[rows], data.pack.patient_ids[rows], targets, is_known)


def run_study(cfg: DictConfig, data: PackDataModule, features: Mapping[str, Candidate]) -> StudyResult:
    """Findings with enough positives in train and in test, chosen and scored."""
    fitting, test = labelled(data, data.rows("train", "val")), labelled(data, data.rows("test"))
    counts = [labelled(data, data.rows(split)).targets.sum(0) for split in ("train", "test")]
    is_scored = np.min(counts, axis=0) >= cfg.min_positives
    findings = data.pack.findings
    scored = [finding for finding, keep in zip(findings, is_scored, strict=True) if keep]
    if not scored:
        raise ConfigError(f"min_positives={cfg.min_positives}: no finding has as many in train and in test")
    return probe_study(
        features,
        fitting,
        test,
        findings,
        scored,
        grid=list(cfg.strengths),
        num_repeats=cfg.repeats,
        num_draws=cfg.draws,
        seed=cfg.seed,
    )


def write_study(folder: Path, cfg: DictConfig, data: PackDataModule, study: StudyResult) -> None:
    """results.json, in the form that `results/` takes, and predictions.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / PREDICTIONS, study.test.image_ids, study.scores, study.findings)
    comparisons = [compare_with(Path(path), study) for path in cfg.against]
    result = {
        "name": cfg.name or cfg.features,
        "method": cfg.method or cfg.features,
        "data": f"{data.pack.manifest.source}/{data.split}",
        "protocol": "clean",
        "recipe": "",
        "config_hash": config_hash(cfg, data),
        "commit": commit(),
        "command": command_line(),
        "comparisons": comparisons,
        "notes": list(cfg.notes),
        **study.to_json(),
    }
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    (folder / RESULT).write_text(text, encoding="utf-8")
    (folder / SUMMARY).write_text(summarise(Result.from_json(text, RESULT)), encoding="utf-8")


def compare_with(folder: Path, study: StudyResult) -> dict[str, Any]:
    """The paired difference to an evaluation written earlier, on the same films."""
    if not (folder / PREDICTIONS).exists():
        raise ConfigError(f"against={folder}: there is no {PREDICTIONS}; name the folder of an evaluation")
    ids, scores = read_predictions(folder / PREDICTIONS, study.findings)
    if not np.array_equal(ids, study.test.image_ids):
        raise ConfigError(f"against={folder}: it scored other films, so no paired difference exists")
    difference = paired_macro_difference(
        study.scores,
        scores,
        study.test.targets,
        study.test.patient_ids,
        study.test.is_known,
        num_draws=study.num_draws,
        seed=study.seed,
    )
    rival = json.loads((folder / RESULT).read_text(encoding="utf-8"))["name"]
    return {"rival": rival, "auroc_macro": estimate_to_json(difference)}


def config_hash(cfg: DictConfig, data: PackDataModule) -> str:
    """Digest of everything that decides the scores: the run's settings, the probe's, and the pack; no paths."""
    probe = ("features", "precision", "readouts", "strengths", "min_positives", "repeats", "draws", "seed")
    settings: dict[str, Any] = {key: OmegaConf.to_container(cfg)[key] for key in probe}  # type: ignore[call-overload, index]
    settings |= {"pack": data.pack.digest, "split": data.split}
    if cfg.run is not None:
        run = cast("dict[str, Any]", OmegaConf.to_container(read_run(Path(cfg.run))))
        settings["run"] = {key: run[key] for key in ("seed", "image_size", "batch_size", "model", "trainer")}
        settings["run"]["data"] = {key: value for key, value in run["data"].items() if key != "pack"}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def command_line() -> str:
    """What was typed, ready to be pasted; notes are left out, they stand beside it."""
    words = [word for word in sys.argv[1:] if not word.startswith("notes=")]
    return shlex.join(["python", Path(sys.argv[0]).name, *words])


def commit() -> str:
    """The commit of the working copy, with "+" where it was changed; "unknown" outside git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    revision = git("rev-parse", "--short=12", "HEAD")
    if not revision:
        return "unknown"
    return revision + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
