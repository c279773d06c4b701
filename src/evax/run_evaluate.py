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

from evax.config import EVALUATE_KEYS, ConfigError, check_config, instantiate, nearest
from evax.data.labels import resolve_labels
from evax.data.module import PackDataModule
from evax.evaluation.bootstrap import paired_macro_difference
from evax.evaluation.features import block_statistics, extract_features, pooled
from evax.evaluation.floors import pixel_features, view_features
from evax.evaluation.predictions import read_predictions, write_predictions
from evax.evaluation.study import Candidate, LabelledFilms, StudyResult, estimate_to_json, probe_study
from evax.run import CONFIG

log = logging.getLogger(__name__)

FEATURES = ("backbone", "random", "pixels", "view")
RESULT, PREDICTIONS, SUMMARY = "results.json", "predictions.parquet", "summary.txt"


def evaluate(cfg: DictConfig, output_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Probe frozen features: choose on train+val across patients, score test once, write results.json."""
    check_config(cfg, EVALUATE_KEYS)
    theirs = [word for word in overrides if word.lstrip("+~").startswith(("data", "image_size"))]
    if cfg.run is not None and theirs:
        raise ConfigError(f"{theirs[0]}: run={cfg.run} is evaluated on its own data; leave this out")
    if cfg.features not in FEATURES:
        raise ConfigError(f"features={cfg.features} is not known; choose one of {', '.join(FEATURES)}")
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
        return {"pixels": Candidate(*(pixel_features(images(data, rows)) for rows in (fitting, test)))}
    assert saved is not None
    backbone = build_backbone(saved, Path(cfg.run) if cfg.features == "backbone" else None)
    known = encoders(backbone)
    names = list(cfg.readouts or known)
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"readouts: there is no {unknown[0]!r}; {nearest(unknown[0], known)}")
    return {name: Candidate(*(encode_rows(known[name], data, rows) for rows in (fitting, test))) for name in names}


def images(data: PackDataModule, rows: np.ndarray) -> np.ndarray:
    """Whole films of some rows, (N, H, W) uint8."""
    return np.stack([data.pack.image(int(row)) for row in rows])


def build_backbone(saved: DictConfig, weights: Path | None) -> nn.Module:
    """The run's backbone, with the weights of its best checkpoint or as it was before training."""
    torch.manual_seed(saved.seed)
    node = saved.backbone.copy()
    node.weights = str(weights) if weights else None
    return instantiate(node).eval()


def encoders(backbone: Any) -> dict[str, Any]:
    """Ways to read a backbone: its own pooled output, and means (and deviations) of its blocks' patch tokens."""
    last = len(backbone.blocks) - 1
    spread = tuple(range(2, last + 1, 3))  # blocks 3, 6, 9, 12 of twelve
    return {
        "pooled": pooled(backbone),
        "last_block": block_statistics(backbone, (last,), with_deviation=True),
        "four_block_means": block_statistics(backbone, spread),
        "four_blocks": block_statistics(backbone, spread, with_deviation=True),
    }


def encode_rows(encode: Any, data: PackDataModule, rows: np.ndarray) -> np.ndarray:
    """Features of some rows; mirrored films are averaged in."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def both_sides(batch: torch.Tensor) -> torch.Tensor:
        return (encode(batch) + encode(batch.flip(-1))) / 2

    return extract_features(both_sides, data.local_loader(data.dataset(rows, mask=False)), device).values


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
    (folder / RESULT).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / SUMMARY).write_text(summary(study, comparisons), encoding="utf-8")


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
    probe = ("features", "readouts", "strengths", "min_positives", "repeats", "draws", "seed")
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


def summary(study: StudyResult, comparisons: Sequence[Mapping[str, Any]]) -> str:
    """Scores, and differences to earlier evaluations, as a table for the terminal."""
    rows: Sequence[tuple[str, Any]] = [("macro", study.auroc_macro), *study.auroc.items()]
    lines = [f"{name:<20} {value.value:.3f}  [{value.low:.3f}, {value.high:.3f}]" for name, value in rows]
    for comparison in comparisons:
        gain = comparison["auroc_macro"]
        interval = f"[{gain['low']:+.3f}, {gain['high']:+.3f}]"
        lines.append(f"macro minus {comparison['rival']:<8} {gain['value']:+.3f}  {interval}")
    chosen = f"chosen by cross-validation: {study.chosen.features}, C={study.chosen.strength:g}"
    return "\n".join(["test AUROC, 95 % interval over patients", *lines, chosen]) + "\n"
