"""A probe study: everything is chosen on train+val across patients, the test films are scored once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Real, Shaped

from evax.evaluation.auroc import auroc_per_class, macro
from evax.evaluation.bootstrap import Estimate, auroc_draws, estimate, macro_draws
from evax.evaluation.knn import Vote, fold_votes, vote_scores
from evax.evaluation.predictions import ids_digest
from evax.evaluation.probe import all_known, cross_validate, fold_probes, probe_scores
from evax.progress import Step

GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse L2 penalties; floors and good features lie inside


# Shapes: N train films, M test films, D width, C findings, S scored findings
@dataclass(frozen=True, slots=True)
class LabelledFilms:
    """Who the films are and what they show."""

    image_ids: Shaped[np.ndarray, "N"]
    patient_ids: Shaped[np.ndarray, "N"]
    targets: Real[np.ndarray, "N C"]
    is_known: Bool[np.ndarray, "N C"] | None = None

    def only(self, columns: Sequence[int]) -> "LabelledFilms":
        """The same films with some of the findings."""
        known = None if self.is_known is None else self.is_known[:, columns]
        return LabelledFilms(self.image_ids, self.patient_ids, self.targets[:, columns], known)


class Candidate(NamedTuple):
    """One way to turn films into features (a layer, a pooling); rows follow the films."""

    fitting: Float[np.ndarray, "N D"]
    test: Float[np.ndarray, "M D"]


class Trial(NamedTuple):
    """One setting of the cross-validation and its score; None where it was the only one, and nothing to choose."""

    features: str
    strength: float
    auroc_macro: float | None

    @property
    def setting(self) -> float:
        """What the probe is fitted with."""
        return self.strength


class VoteTrial(NamedTuple):
    """As `Trial`, of nearest films."""

    features: str
    strength: None
    auroc_macro: float | None
    neighbors: int
    temperature: float

    @property
    def setting(self) -> Vote:
        """Which films vote, and how."""
        return Vote(self.neighbors, self.temperature)


def trial_of(features: str, setting: float | Vote, auroc_macro: float | None) -> Trial | VoteTrial:
    """A setting with its score."""
    if isinstance(setting, Vote):
        return VoteTrial(features, None, auroc_macro, *setting)
    return Trial(features, setting, auroc_macro)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Test scores of the setting that cross-validation chose; findings are the scored ones only."""

    findings: tuple[str, ...]
    test: LabelledFilms
    scores: Float32[np.ndarray, "M S"]
    auroc: dict[str, Estimate]
    auroc_macro: Estimate
    chosen: Trial | VoteTrial
    trials: tuple[Trial | VoteTrial, ...]
    num_train: int
    train_ids_digest: str
    num_draws: int
    seed: int

    def to_json(self) -> dict[str, object]:
        """The fields of a results file that the study knows; undefined numbers are None."""
        return {
            "findings": list(self.findings),
            "auroc_macro": estimate_to_json(self.auroc_macro),
            "auroc": {finding: estimate_to_json(value) for finding, value in self.auroc.items()},
            "chosen": self.chosen._asdict(),
            "trials": [trial._asdict() for trial in self.trials],
            "num_train": self.num_train,
            "num_test": len(self.scores),
            "num_test_patients": len(np.unique(self.test.patient_ids)),
            "train_ids_digest": self.train_ids_digest,
            "test_ids_digest": ids_digest(self.test.image_ids),
            "num_draws": self.num_draws,
            "seed": self.seed,
        }


def estimate_to_json(value: Estimate) -> dict[str, float | None]:
    """JSON has no NaN."""
    return {key: None if math.isnan(number) else number for key, number in value._asdict().items()}


def check_disjoint(train: LabelledFilms, test: LabelledFilms) -> None:
    """Refuse a patient on both sides; the message counts and names nobody."""
    shared = np.intersect1d(train.patient_ids, test.patient_ids)
    if len(shared):
        raise ValueError(f"{len(shared)} patients are in both train and test; split by patient")


def cross_validate_candidates(
    candidates: Mapping[str, Candidate],
    train: LabelledFilms,
    grid: Sequence[float] | Sequence[Vote],
    *,
    num_folds: int,
    num_repeats: int,
    seed: int,
    names: Sequence[str] | None = None,
) -> tuple[Trial | VoteTrial, ...]:
    """Every feature set with every setting on the same patient folds; `names` are of the findings."""
    return tuple(
        trial_of(name, setting, score)
        for number, (name, candidate) in enumerate(candidates.items(), start=1)
        for setting, score in cross_validate(
            candidate.fitting,
            train.targets,
            train.patient_ids,
            sorted(grid),
            train.is_known,
            scorer=fold_votes if isinstance(grid[0], Vote) else fold_probes,
            num_folds=num_folds,
            num_repeats=num_repeats,
            seed=seed,
            names=names,
            title=f"cross-validation of {name} ({number} of {len(candidates)})",
        ).items()
    )


def score_once(
    chosen: Trial | VoteTrial, features: Candidate, train: LabelledFilms, names: Sequence[str]
) -> Float32[np.ndarray, "M C"]:
    """Scores of the test films by the chosen setting, fitted on all train films."""
    known = all_known(train.targets) if train.is_known is None else train.is_known
    fitting, test = features
    with Step(f"scoring the test images by {chosen.features}", 1) as step:
        if isinstance(chosen, VoteTrial):
            (scores,) = vote_scores(fitting, train.targets, known, test, [chosen.setting], step.alive)
            return scores
        return probe_scores(fitting, train.targets, known, test, chosen.setting, names, step.alive)


def probe_study(
    candidates: Mapping[str, Candidate],
    train: LabelledFilms,
    test: LabelledFilms,
    findings: Sequence[str],
    scored: Sequence[str],
    *,
    grid: Sequence[float] | Sequence[Vote] = GRID,
    num_folds: int = 5,
    num_repeats: int = 1,
    num_draws: int = 1000,
    seed: int = 0,
) -> StudyResult:
    """Choose features and strength on `train` (train and val films), then score `test` once.

    `findings` names the columns of the targets, `scored` those that count. With votes as `grid`, nearest films take
    the place of linear probes. At equal score the earlier feature set and the stronger penalty, or the fewer
    neighbours, win.
    """
    check_disjoint(train, test)
    columns = [list(findings).index(finding) for finding in scored]
    train, test = train.only(columns), test.only(columns)
    trials: tuple[Trial | VoteTrial, ...] = tuple(trial_of(name, each, None) for name in candidates for each in grid)
    if len(trials) > 1:
        trials = cross_validate_candidates(
            candidates, train, grid, num_folds=num_folds, num_repeats=num_repeats, seed=seed, names=scored
        )
    chosen = max(trials, key=lambda trial: trial.auroc_macro or 0.0)
    scores = score_once(chosen, candidates[chosen.features], train, scored)
    auroc, auroc_macro = score_with_intervals(scores, test, scored, num_draws=num_draws, seed=seed)
    return StudyResult(
        findings=tuple(scored),
        test=test,
        scores=scores,
        auroc=auroc,
        auroc_macro=auroc_macro,
        chosen=chosen,
        trials=trials,
        num_train=len(train.image_ids),
        train_ids_digest=ids_digest(train.image_ids),
        num_draws=num_draws,
        seed=seed,
    )


def score_with_intervals(
    scores: Float[np.ndarray, "M C"],
    films: LabelledFilms,
    findings: Sequence[str],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, Estimate], Estimate]:
    """AUROC per finding and macro, with 95 % intervals over resampled patients."""
    values = auroc_per_class(scores, films.targets, films.is_known)
    draws = auroc_draws(scores, films.targets, films.patient_ids, films.is_known, num_draws=num_draws, seed=seed)
    per_finding = {
        finding: estimate(float(values[column]), draws[:, column]) for column, finding in enumerate(findings)
    }
    over_findings = macro_draws(draws, ~np.isnan(values))
    return per_finding, estimate(macro(values).value, over_findings)
