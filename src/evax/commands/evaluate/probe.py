"""`evaluate.py`: what frozen features are worth on a labelled pack, by a linear probe with intervals."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from torch import nn

from evax.checkpoints.published import published_file
from evax.config import EVALUATE_KEYS, ConfigError, check_config, instantiate
from evax.data.labels import resolve_labels
from evax.data.leakage import check_passed
from evax.data.module import PackDataModule
from evax.evaluation.bootstrap import paired_macro_difference
from evax.evaluation.floors import border_features, middle_features, pixel_features, view_features
from evax.evaluation.knn import Vote
from evax.evaluation.predictions import read_predictions, write_predictions
from evax.evaluation.readouts import READOUTS, encode_rows
from evax.evaluation.study import Candidate, LabelledFilms, StudyResult, estimate_to_json, probe_study
from evax.hints import nearest
from evax.runs.choice import choice_of
from evax.runs.early import check_features
from evax.runs.gate import check_patients
from evax.runs.record import PREDICTIONS, RESULT, SUMMARY, command_line, commit, digest, save_result
from evax.runs.settings import best_precision
from evax.runs.subject import chosen_name, read_run, run_identity, subject

log = logging.getLogger(__name__)

OF_PIXELS = {"pixels": pixel_features, "border": border_features, "middle": middle_features}
FLOORS = (*OF_PIXELS, "view")  # features without a backbone
FEATURES = ("backbone", "random", *FLOORS)
OF_TRAINING = ("fraction", "labels", "fit_on", "sampling", "shuffle_labels", "near_duplicates", "crop", "randaugment")
TARGETS = ("findings", "origin")
PRECISIONS = ("32-true", "bf16-mixed", "auto")


def evaluate(cfg: DictConfig, output_dir: str | Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Probe frozen features: choose on train+val across patients, score test once, write results.json."""
    check_config(cfg, EVALUATE_KEYS)
    check_subject(cfg, overrides)
    saved = read_run(Path(cfg.run)) if cfg.run is not None else None
    data: PackDataModule = instantiate(saved.data if saved is not None else cfg.data)
    check_passed(data.gate, data.split)
    check_probe(cfg, data)
    origin = origin_of(cfg, saved, data)
    cfg = settled_precision(cfg)
    folder = Path(cfg.run) / "evaluation" / default_name(cfg) if cfg.run is not None else Path(output_dir)
    chosen = None if cfg.features in FLOORS else subject(cfg, saved)
    identity = {"run": run_identity(saved)} if saved is not None else {"weights": chosen.identity} if chosen else {}
    study = run_study(cfg, data, candidates(cfg, data, chosen.backbone if chosen else None))
    write_study(folder, cfg, data, study, origin | {"config_hash": config_hash(cfg, data, identity)})
    log.info("%s\nwritten: %s", (folder / SUMMARY).read_text(encoding="utf-8").rstrip(), folder / RESULT)
    return {"test/auroc_macro": study.auroc_macro.value}


def origin_of(cfg: DictConfig, saved: DictConfig | None, data: PackDataModule) -> dict[str, Any]:
    """Protocol and recipe under which the features were chosen, and notes on it; refuses films that trained them.

    Features that know no training are clean, and so are weights that know no labels.
    """
    beside = [*cfg.notes, *notes_beside(saved)]
    if cfg.features != "backbone":
        return {"protocol": "clean", "recipe": "", "notes": beside}
    if saved is not None:
        weights, key = Path(cfg.run), None
    else:
        weights, key = published_file(cfg.weights, cfg.backbone.get("published")), cfg.backbone.weights_key
    found, choice = check_patients(weights, data), choice_of(weights, key=key)
    notes = [*beside, *choice.notes, *found.notes]
    return {"protocol": choice.protocol, "recipe": choice.recipe, "notes": notes}


def notes_beside(saved: DictConfig | None) -> list[str]:
    """Where a probe differs from the fine-tuning `saved` beside which it will stand."""
    if saved is None:
        return []
    fraction, labels = saved.data.get("fraction") or 1.0, saved.data.get("labels") or {}
    notes = [f"the run trained on {fraction:g} of its films, the probe on all"] if fraction != 1 else []
    if findings := labels.get("findings"):
        notes.append(f"the run was trained on {len(findings)} findings, the probe scores all that it can")
    return notes


def check_subject(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what does not say, or says twice, which features are meant."""
    theirs = [word for word in overrides if word.lstrip("+~").startswith(("data", "image_size"))]
    if cfg.run is not None and theirs:
        raise ConfigError(f"{theirs[0]}: run={cfg.run} is evaluated on its own data; leave this out")
    if trained := [word for word in overrides if word.lstrip("+~").removeprefix("data.").startswith(OF_TRAINING)]:
        raise ConfigError(f"{trained[0]}: a probe learns from all films of train and val, all findings; leave it out")
    if cfg.features not in FEATURES:
        raise ConfigError(f"features={cfg.features} is not known; choose one of {', '.join(FEATURES)}")
    if cfg.run is not None and cfg.get("weights") is not None:
        raise ConfigError(f"weights={cfg.weights}: run={cfg.run} has weights of its own; give one of the two")
    check_features(cfg)
    if of_masks := [key for key in ("flip", "window", "stride") if cfg.get(key)]:
        raise ConfigError(f"{of_masks[0]}: is for features=segmenter; leave it out")
    of_file = [key for key in ("weights", "mean", "std") if cfg.get(key) is not None]
    of_file += ["backbone"] if chosen_name(cfg) else []
    if of_file and (cfg.get("weights") is None or cfg.features in FLOORS):
        raise ConfigError(f"{of_file[0]}: is for weights=FILE with features=backbone or random; leave it out")


def check_probe(cfg: DictConfig, data: PackDataModule, prefix: str = "") -> None:
    """Refuse settings that the probe could not work with on these films; `prefix` is where they stand."""
    if cfg.precision not in PRECISIONS:
        raise ConfigError(f"{prefix}precision={cfg.precision} is not known; choose one of {', '.join(PRECISIONS)}")
    if unknown := [name for name in cfg.readouts or () if name not in READOUTS]:
        raise ConfigError(f"{prefix}readouts: there is no {unknown[0]!r}; {nearest(unknown[0], READOUTS)}")
    check_classifier(cfg, prefix)
    for key in ("repeats", "draws"):
        if not isinstance(cfg[key], int) or cfg[key] < 1:
            raise ConfigError(f"{prefix}{key}={cfg[key]}: give a whole number above 0")
    if cfg.get("target") not in (None, *TARGETS):
        raise ConfigError(f"{prefix}target={cfg.target} is not known; choose {' or '.join(TARGETS)}")
    if asks_origin(cfg) and len(names_asked(cfg, data)) < 2:
        raise ConfigError(f"{prefix}target=origin: the films of {data.pack.folder} are not of several collections")
    if not scored_findings(cfg, data):
        raise ConfigError(
            f"{prefix}min_positives={cfg.min_positives}: no finding has as many in train and in test; lower it"
        )


def check_classifier(cfg: DictConfig, prefix: str) -> None:
    """Refuse a reader of features that is not known, and settings that it could not use."""
    if cfg.get("classifier") not in (None, "linear", "knn"):
        raise ConfigError(f"{prefix}classifier={cfg.classifier} is not known; choose linear or knn")
    for key in ("neighbors", "temperatures") if asks_knn(cfg) else ("strengths",):
        numbers = int if key == "neighbors" else int | float
        if not cfg[key] or not all(isinstance(each, numbers) and each > 0 for each in cfg[key]):
            raise ConfigError(f"{prefix}{key}={cfg[key]}: give {'whole ' * (numbers is int)}numbers above 0")


def settled_precision(cfg: DictConfig) -> DictConfig:
    """The configuration with what "auto" means on this machine, so that the hash tells it."""
    cfg = cfg.copy()
    if cfg.precision == "auto":
        cfg.precision = best_precision("auto")
    return cfg


def candidates(cfg: DictConfig, data: PackDataModule, backbone: nn.Module | None) -> dict[str, Candidate]:
    """The feature sets to choose from, for the films of train+val and of test."""
    fitting, test = data.rows("train", "val"), data.rows("test")
    if cfg.features == "view":
        return {"view": Candidate(*(view_features(data.pack.views[rows].tolist()) for rows in (fitting, test)))}
    if cfg.features in OF_PIXELS:
        films = ((data.pack.image(int(row)) for row in rows) for rows in (fitting, test))
        return {cfg.features: Candidate(*map(OF_PIXELS[cfg.features], films))}
    names = list(cfg.readouts or READOUTS)
    is_bf16 = cfg.precision == "bf16-mixed"
    fitted, tested = (encode_rows(backbone, names, data, rows, bf16=is_bf16) for rows in (fitting, test))
    return {name: Candidate(fitted[name], tested[name]) for name in names}


def default_name(cfg: DictConfig) -> str:
    """What an evaluation is called: its features, how they are read and what they are to tell, if not as usual."""
    parts = (str(cfg.features), "knn" if asks_knn(cfg) else "", "origin" if asks_origin(cfg) else "")
    return "_".join(part for part in parts if part)


def asks_knn(cfg: DictConfig) -> bool:
    """Whether the nearest films vote in place of a linear probe."""
    return cfg.get("classifier") == "knn"


def settings_to_try(cfg: DictConfig) -> list[float] | list[Vote]:
    """What cross-validation chooses from: strengths of linear probes, or votes of nearest films."""
    if asks_knn(cfg):
        return [Vote(count, temperature) for count in cfg.neighbors for temperature in cfg.temperatures]
    return list(cfg.strengths)


def asks_origin(cfg: DictConfig) -> bool:
    """Whether the probe is to tell where films come from, and not what they show."""
    return cfg.get("target") == "origin"


def names_asked(cfg: DictConfig, data: PackDataModule) -> tuple[str, ...]:
    """What the probe is to tell: the findings, or the collections that the films come from."""
    if not asks_origin(cfg):
        return data.pack.findings
    return tuple(name for name in np.unique(data.pack.origins).tolist() if name)


def labelled(cfg: DictConfig, data: PackDataModule, rows: np.ndarray) -> LabelledFilms:
    """Who the films of some rows are and what they show, or where they come from."""
    if asks_origin(cfg):
        targets = (data.pack.origins[rows][:, None] == np.array(names_asked(cfg, data))).astype(np.float32)
        is_known = np.ones(targets.shape, bool)
    else:
        targets, is_known = resolve_labels(data.pack.labels[rows], data.pack.findings)
    return LabelledFilms(data.pack.image_ids[rows], data.pack.patient_ids[rows], targets, is_known)


def scored_findings(cfg: DictConfig, data: PackDataModule) -> list[str]:
    """What is asked, with enough positives in train and in test."""
    counts = [labelled(cfg, data, data.rows(split)).targets.sum(0) for split in ("train", "test")]
    is_scored = np.min(counts, axis=0) >= cfg.min_positives
    return [name for name, keep in zip(names_asked(cfg, data), is_scored, strict=True) if keep]


def run_study(cfg: DictConfig, data: PackDataModule, features: Mapping[str, Candidate]) -> StudyResult:
    """Findings with enough positives in train and in test, chosen and scored."""
    fitting, test = (labelled(cfg, data, data.rows(*splits)) for splits in (("train", "val"), ("test",)))
    scored, findings = scored_findings(cfg, data), names_asked(cfg, data)
    return probe_study(
        features,
        fitting,
        test,
        findings,
        scored,
        grid=settings_to_try(cfg),
        num_repeats=cfg.repeats,
        num_draws=cfg.draws,
        seed=cfg.seed,
    )


def write_study(
    folder: Path, cfg: DictConfig, data: PackDataModule, study: StudyResult, origin: Mapping[str, Any]
) -> None:
    """results.json, in the form that `results/` takes, and predictions.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / PREDICTIONS, study.test.image_ids, study.scores, study.findings)
    comparisons = [compare_with(Path(path), study) for path in cfg.against]
    is_file = cfg.get("weights") is not None and cfg.features == "backbone"
    result = {
        "name": cfg.name or (Path(cfg.weights).stem if is_file else default_name(cfg)),
        "method": cfg.method or default_name(cfg),
        "data": f"{data.pack.manifest.source}/{data.split}",
        **origin,
        "commit": commit(),
        "command": command_line(),
        "comparisons": comparisons,
        **study.to_json(),
    }
    save_result(folder, result)


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


def config_hash(cfg: DictConfig, data: PackDataModule, identity: Mapping[str, Any]) -> str:
    """Digest of everything that decides the scores: the settings of the probe, the pack, and whose features; no paths.

    `identity` says whose: a run's settings, or the facts of a weight file.
    """
    probe = ("features", "precision", "readouts", "strengths", "min_positives", "repeats", "draws", "seed")
    settings: dict[str, Any] = {key: OmegaConf.to_container(cfg)[key] for key in probe}  # type: ignore[call-overload, index]
    settings |= {"target": cfg.target} if asks_origin(cfg) else {}
    settings |= {"votes": settings_to_try(cfg)} if asks_knn(cfg) else {}
    return digest(settings | {"pack": data.pack.digest, "split": data.split, **identity})
