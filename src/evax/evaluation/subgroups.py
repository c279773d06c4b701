"""Whether a classifier serves all alike: AUROC by sex, age band and view, and the gap between best and worst."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from evax.evaluation.auroc import macro
from evax.evaluation.bootstrap import Estimate, estimate, macro_draws
from evax.evaluation.metric import Metric, metric_of
from evax.evaluation.operating_points import OperatingPoints, auroc_of, count, points_per_class
from evax.evaluation.patient_draws import Patients, group_by_patient, resample
from evax.evaluation.study import LabelledFilms, estimate_to_json

UNKNOWN = "unknown"
AGE_EDGES = (40, 60, 80)  # years
MIN_FILMS = 5  # positives, and negatives, below which a class of a group is not scored
_SEXES = {"M": "M", "F": "F"}
_VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "lateral", "LL": "lateral"}


def by_sex(sexes: Sequence[str]) -> Shaped[np.ndarray, "N"]:
    """M, F or unknown."""
    return np.array([_SEXES.get(str(sex).upper(), UNKNOWN) for sex in sexes], dtype=str)


def by_view(views: Sequence[str]) -> Shaped[np.ndarray, "N"]:
    """PA, AP, lateral or unknown."""
    return np.array([_VIEWS.get(str(view).upper(), UNKNOWN) for view in views], dtype=str)


def by_age(ages: Float[np.ndarray, "N"], edges: Sequence[int] = AGE_EDGES) -> Shaped[np.ndarray, "N"]:
    """Age bands in years, <40, 40–59, 60–79 and ≥80; an edge belongs to the band above it, NaN is unknown."""
    inner = [f"{low}–{high - 1}" for low, high in pairwise(edges)]
    names = np.array([f"<{edges[0]}", *inner, f"≥{edges[-1]}", UNKNOWN], dtype=str)
    bands = np.searchsorted(np.asarray(edges), ages, side="right")
    return names[np.where(np.isnan(ages), len(names) - 1, bands)]


class Gap(NamedTuple):
    """AUROC of the best group minus that of the worst, both as seen on all films; "" where none can be named."""

    best: str
    worst: str
    difference: Estimate

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        return {"best": self.best, "worst": self.worst, "difference": estimate_to_json(self.difference)}


@dataclass(frozen=True, slots=True)
class Group:
    """The films of one group, their AUROC, and its mean over the findings that `Subgroups.macro_over` names."""

    num_films: int
    num_patients: int
    auroc: Metric


@dataclass(frozen=True, slots=True)
class Subgroups:
    """AUROC in each group of one attribute, and the gaps between best and worst group."""

    attribute: str
    groups: dict[str, Group]
    macro_over: tuple[str, ...]
    gap: dict[str, Gap]
    gap_macro: Gap

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        return {
            "attribute": self.attribute,
            "groups": {
                name: {"num_films": g.num_films, "num_patients": g.num_patients, "auroc": g.auroc.to_json()}
                for name, g in self.groups.items()
            },
            "macro_over": list(self.macro_over),
            "gap": {finding: gap.to_json() for finding, gap in self.gap.items()},
            "gap_macro": self.gap_macro.to_json(),
        }


# Shapes: N films, C classes, D draws, G groups
def subgroup_aurocs(
    attribute: str,
    group_of_film: Shaped[np.ndarray, "N"],
    scores: Float[np.ndarray, "N C"],
    films: LabelledFilms,
    findings: Sequence[str],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Subgroups:
    """AUROC per group and class, all on the same resamples of patients.

    A class with fewer than 5 positives or negatives in a group is not scored there, and named. Means of groups are
    compared over the same findings: those scored in every group that scores at least half of what all films together
    can. The gap is that of the two groups that are best and worst on all films, in every resample, so that its interval
    can hold 0; as they were chosen for being so, it is somewhat too far from 0. Films of an unknown group are scored
    beside the others, and have no part in gaps nor in the choice of findings.
    """
    patients = group_by_patient(films.patient_ids)
    names = sorted((str(name) for name in np.unique(group_of_film)), key=_place)
    ladders = [group_points(group_of_film == name, scores, films, patients) for name in names]

    def aurocs(counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D G C"]:
        rows = [[auroc_of(count(points, counts)) for points in ladder] for ladder in ladders]
        return np.array(rows).transpose(2, 0, 1)

    value, draws = resample(aurocs, patients, num_draws=num_draws, seed=seed)
    is_scored = ~np.isnan(value)  # (G, C)
    is_named = np.array([name != UNKNOWN or len(names) == 1 for name in names])
    num_scorable = np.count_nonzero(can_score(known_films(np.ones(len(scores), bool), films), films))
    compared = is_named & (is_scored.sum(axis=1) >= max(1, num_scorable / 2))
    shared = is_scored[compared].all(axis=0) & bool(compared.any())
    groups = {}
    for g, name in enumerate(names):
        inside = group_of_film == name
        metric = metric_of(value[g], draws[:, g], findings)
        is_comparable = bool((compared[g] or not is_named[g]) and is_scored[g, shared].all())
        mean = _group_macro(value[g], draws[:, g], shared, comparable=is_comparable)
        metric = Metric(metric.per_class, mean, metric.not_scored)
        groups[name] = Group(int(inside.sum()), len(np.unique(films.patient_ids[inside])), metric)
    named = np.where(is_named[:, None], value, np.nan)
    means = np.where(compared & shared.any(), _mean(value, shared), np.nan)
    return Subgroups(
        attribute=attribute,
        groups=groups,
        macro_over=tuple(finding for finding, keep in zip(findings, shared, strict=True) if keep),
        gap={finding: gap_of(names, named[:, c], draws[:, :, c]) for c, finding in enumerate(findings)},
        gap_macro=gap_of(names, means, _mean(draws, shared)),
    )


def group_points(
    inside: Bool[np.ndarray, "N"], scores: Float[np.ndarray, "N C"], films: LabelledFilms, patients: Patients
) -> list[OperatingPoints]:
    """The operating points of every class over the films of one group; none where the class has too few there."""
    known = known_films(inside, films)
    return points_per_class(scores, films.targets, patients, known & can_score(known, films))


def known_films(inside: Bool[np.ndarray, "N"], films: LabelledFilms) -> Bool[np.ndarray, "N C"]:
    """The films of one group whose label of a class is known."""
    known = np.repeat(inside[:, None], films.targets.shape[1], axis=1)
    return known if films.is_known is None else known & films.is_known


def can_score(known: Bool[np.ndarray, "N C"], films: LabelledFilms) -> Bool[np.ndarray, "C"]:
    """The classes with `MIN_FILMS` positives and as many negatives among known films."""
    num_positives = ((films.targets == 1) & known).sum(axis=0)
    num_negatives = known.sum(axis=0) - num_positives
    return (num_positives >= MIN_FILMS) & (num_negatives >= MIN_FILMS)


def gap_of(names: Sequence[str], value: Float[np.ndarray, "G"], draws: Float[np.ndarray, "D G"]) -> Gap:
    """Best minus worst of the groups that are scored; NaN where fewer than two are."""
    if np.count_nonzero(~np.isnan(value)) < 2:
        return Gap("", "", Estimate(math.nan, math.nan, math.nan))
    best, worst = int(np.nanargmax(value)), int(np.nanargmin(value))
    difference = estimate(float(value[best] - value[worst]), draws[:, best] - draws[:, worst])
    return Gap(names[best], names[worst], difference)


def all_subgroups(
    attributes: Mapping[str, Shaped[np.ndarray, "N"]],
    scores: Float[np.ndarray, "N C"],
    films: LabelledFilms,
    findings: Sequence[str],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> tuple[Subgroups, ...]:
    """`subgroup_aurocs` of each attribute (its name -> the group of each film)."""
    return tuple(
        subgroup_aurocs(attribute, groups, scores, films, findings, num_draws=num_draws, seed=seed)
        for attribute, groups in attributes.items()
    )


def _place(name: str) -> tuple[bool, bool, str]:
    """Sorts the lowest age band first and the unknown last."""
    return name == UNKNOWN, not name.startswith("<"), name


def _mean(values: Float[np.ndarray, "*rest C"], shared: Bool[np.ndarray, "C"]) -> Float[np.ndarray, "*rest"]:
    if not shared.any():
        return np.full(values.shape[:-1], np.nan)
    return values[..., shared].mean(axis=-1)


def _group_macro(
    value: Float[np.ndarray, "C"], draws: Float[np.ndarray, "D C"], shared: Bool[np.ndarray, "C"], *, comparable: bool
) -> Estimate:
    if not comparable or not shared.any():
        return Estimate(math.nan, math.nan, math.nan)
    return estimate(macro(value[shared]).value, macro_draws(draws, shared))
