"""Whether a classifier serves all alike: AUROC by sex, age band and view, and the gap between best and worst."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from evax.data.files import counted
from evax.evaluation.auroc import macro
from evax.evaluation.bootstrap import Estimate, estimate, macro_draws
from evax.evaluation.metric import Metric, metric_of
from evax.evaluation.operating_points import OperatingPoints, auroc_of, count, points_per_class
from evax.evaluation.patient_draws import Patients, group_by_patient, resample
from evax.evaluation.scorable import MACRO, Support, lone_patients, supports
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
    """The films of one group, their AUROC, and its mean over the findings that `Subgroups.macro_over` names.

    `reasons` says why the group cannot score a finding, "macro" why its mean is not compared, `no_interval` why an
    interval is missing.
    """

    num_films: int
    num_patients: int
    auroc: Metric
    reasons: dict[str, str]
    no_interval: dict[str, str]

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        return {
            **{name: getattr(self, name) for name in ("num_films", "num_patients", "reasons", "no_interval")},
            "auroc": self.auroc.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Subgroups:
    """AUROC in each group of one attribute, and the gaps between best and worst group.

    `left_out` says why a finding is not in the mean of the groups.
    """

    attribute: str
    groups: dict[str, Group]
    macro_over: tuple[str, ...]
    left_out: dict[str, str]
    gap: dict[str, Gap]
    gap_macro: Gap

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        return {
            "attribute": self.attribute,
            "groups": {name: group.to_json() for name, group in self.groups.items()},
            "macro_over": list(self.macro_over),
            "left_out": self.left_out,
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
    is_comparable = (compared | ~is_named) & is_scored[:, shared].all(axis=1) & bool(shared.any())
    groups = {}
    for g, name in enumerate(names):
        why = ""
        if not is_comparable[g]:
            number = f"scores {np.count_nonzero(is_scored[g])} of {num_scorable} findings"
            why = number if shared.any() else "no finding is scored in every group"
        mean = _group_macro(value[g], draws[:, g], shared, comparable=bool(is_comparable[g]))
        auroc = metric_of(value[g], draws[:, g], findings)
        groups[name] = _group(group_of_film == name, films, scores, replace(auroc, macro=mean), why)
    named = np.where(is_named[:, None], value, np.nan)
    means = np.where(compared & shared.any(), _mean(value, shared), np.nan)
    return Subgroups(
        attribute=attribute,
        groups=groups,
        macro_over=tuple(finding for finding, keep in zip(findings, shared, strict=True) if keep),
        left_out=_left_out(
            [finding for finding, keep in zip(findings, shared, strict=True) if not keep],
            {name: groups[name] for name, keep in zip(names, compared, strict=True) if keep},
            _reasons(_supports(np.ones(len(scores), bool), scores, films, findings)),
        ),
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


def _group(
    inside: Bool[np.ndarray, "N"], films: LabelledFilms, scores: Float[np.ndarray, "N C"], auroc: Metric, why: str
) -> Group:
    """One group with its scores; `why` says that its mean is not compared."""
    found = _supports(inside, scores, films, list(auroc.per_class))
    lone = lone_patients(found)
    reasons = _reasons(found) | ({MACRO: why} if why else {})
    num_patients = len(np.unique(films.patient_ids[inside]))
    return Group(int(inside.sum()), num_patients, auroc.unbounded(lone), reasons, lone)


def _supports(
    inside: Bool[np.ndarray, "N"], scores: Float[np.ndarray, "N C"], films: LabelledFilms, findings: Sequence[str]
) -> dict[str, Support]:
    """What the score of every finding in one group rests on."""
    return supports(replace(films, is_known=known_films(inside, films)), findings, scores)


def _reasons(found: Mapping[str, Support]) -> dict[str, str]:
    """Why a group does not score a finding."""
    why = {}
    for finding, each in found.items():
        few = [
            counted(number, side)
            for number, side in ((each.positives, "positive"), (each.negatives, "negative"))
            if number < MIN_FILMS
        ]
        if each.reason() or few:
            why[finding] = each.reason() or f"{' and '.join(few)}, fewer than {MIN_FILMS}"
    return why


def _left_out(findings: Sequence[str], compared: Mapping[str, Group], in_all: Mapping[str, str]) -> dict[str, str]:
    """Why findings are not in the mean: by all images, or by the groups that are compared and do not score them."""
    found = {}
    for finding in findings:
        where = ", ".join(name for name, group in compared.items() if finding in group.reasons)
        few = f"fewer than {MIN_FILMS} positives or negatives in {where}" if where else "no group can be compared"
        found[finding] = in_all.get(finding) or few
    return found


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
