"""Two methods on the same films: DeLong's test and the paired patient bootstrap, per class and in the mean.

A method may have been run several times, under several seeds. Its AUROC is then the mean over its runs, on the films as
they are and on every resample: the interval tells what other patients would change, not what other seeds would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from evax.evaluation.delong import DeLong, delong_test, holm
from evax.evaluation.metric import Metric, metric_of
from evax.evaluation.operating_points import auroc_of, count, points_per_class
from evax.evaluation.patient_draws import group_by_patient, resample
from evax.evaluation.predictions import ids_digest, read_predictions
from evax.evaluation.scorable import NO_OUTPUT, lone_patients, missing_intervals, reasons, remarks, supports
from evax.evaluation.study import LabelledFilms


@dataclass(frozen=True, slots=True)
class Table:
    """A method: its files of predictions, one a run, what to call it, and the protocol its scores were made under."""

    name: str
    paths: tuple[Path, ...]
    protocol: str = "clean"
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """AUROC of `name` minus that of `rival`, each the mean of its `num_runs`; `scores` has both, by class.

    DeLong's p is for single runs, empty otherwise; it takes films as independent, and `p_holm` is for all classes.
    `not_scored` says why a class has no difference, `remarks` which are scored on few images, `no_interval` why an
    interval is missing.
    """

    name: str
    rival: str
    num_runs: tuple[int, int]
    difference: Metric
    scores: dict[str, tuple[float, float]]
    delong: dict[str, DeLong]
    p_holm: dict[str, float]
    test_ids_digest: str
    num_draws: int
    seed: int
    not_scored: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    no_interval: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Plain types; undefined numbers are None."""
        tests = {
            finding: {key: _or_none(number) for key, number in test._asdict().items()}
            | {"p_holm": _or_none(self.p_holm[finding])}
            for finding, test in self.delong.items()
        }
        return {
            "name": self.name,
            "rival": self.rival,
            "num_runs": list(self.num_runs),
            "difference": self.difference.to_json(),
            "scores": {finding: [_or_none(number) for number in pair] for finding, pair in self.scores.items()},
            "delong": tests,
            "test_ids_digest": self.test_ids_digest,
            "num_draws": self.num_draws,
            "seed": self.seed,
            **{name: getattr(self, name) for name in ("not_scored", "remarks", "no_interval")},
        }


# Shapes: R, S runs, N films, C classes, P patients, D draws
def compare_scores(
    scores: Float[np.ndarray, "R N C"],
    rival_scores: Float[np.ndarray, "S N C"],
    films: LabelledFilms,
    findings: Sequence[str],
    *,
    names: tuple[str, str] = ("first", "second"),
    num_draws: int = 1000,
    seed: int = 0,
) -> Comparison:
    """The comparison of two methods whose rows follow `films`; a class that one cannot score leaves the mean."""
    patients = group_by_patient(films.patient_ids)
    runs = [
        [points_per_class(run, films.targets, patients, films.is_known) for run in each]
        for each in (scores, rival_scores)
    ]

    def both(counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D 2 C"]:
        means = [
            np.mean([np.stack([auroc_of(count(points, counts)) for points in run], 1) for run in each], axis=0)
            for each in runs
        ]
        return np.stack(means, axis=1)

    value, draws = resample(both, patients, num_draws=num_draws, seed=seed)
    tests = delong_tests(scores[0], rival_scores[0], films, findings) if len(scores) == len(rival_scores) == 1 else {}
    adjusted = holm(np.array([test.p for test in tests.values()]))
    rests_on = supports(films, findings)
    lone = lone_patients(rests_on)
    difference = metric_of(value[0] - value[1], draws[:, 0] - draws[:, 1], findings).unbounded(lone)
    by_method = {finding: lacking(names, value[:, c]) for c, finding in enumerate(findings)}
    return Comparison(
        name=names[0],
        rival=names[1],
        num_runs=(len(scores), len(rival_scores)),
        difference=difference,
        scores=pairs(value, findings),
        delong=tests,
        p_holm=dict(zip(tests, adjusted.tolist(), strict=True)),
        test_ids_digest=ids_digest(films.image_ids),
        num_draws=num_draws,
        seed=seed,
        not_scored={finding: why for finding, why in by_method.items() if why} | reasons(rests_on),
        remarks=remarks(rests_on),
        no_interval=missing_intervals(difference.scores, lone),
    )


def lacking(names: tuple[str, str], values: Float[np.ndarray, "2"]) -> str:
    """Which of two methods has no score of a class; "" where both have one."""
    without = [name for name, value in zip(names, values, strict=True) if np.isnan(value)]
    return f"{NO_OUTPUT} ({' and '.join(without)})" if without else ""


def pairs(scores: Float[np.ndarray, "2 C"], classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The scores of two methods, by class."""
    return dict(zip(classes, zip(*scores.tolist(), strict=True), strict=True))


def delong_tests(
    scores: Float[np.ndarray, "N C"], rival: Float[np.ndarray, "N C"], films: LabelledFilms, findings: Sequence[str]
) -> dict[str, DeLong]:
    """DeLong's test of every class, over the films whose label is known."""
    known = np.ones(scores.shape, dtype=bool) if films.is_known is None else films.is_known
    return {
        finding: delong_test(scores[:, c], rival[:, c], films.targets[:, c], known[:, c])
        for c, finding in enumerate(findings)
    }


def compare_tables(
    first: Table,
    second: Table,
    films: LabelledFilms,
    findings: Sequence[str],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Comparison:
    """The comparison of two methods' prediction files on `films`; refuses other films and unequal protocols."""
    if (first.protocol, first.recipe) != (second.protocol, second.recipe):
        settings = " and ".join(f"{each.name} is {each.protocol} {each.recipe}".rstrip() for each in (first, second))
        raise ValueError(f"{settings}: numbers of different protocols do not compare")
    scores, rival_scores = (
        np.stack([aligned_scores(path, films.image_ids, findings) for path in each.paths]) for each in (first, second)
    )
    names = (first.name, second.name)
    return compare_scores(scores, rival_scores, films, findings, names=names, num_draws=num_draws, seed=seed)


def aligned_scores(path: Path, image_ids: Shaped[np.ndarray, "N"], findings: Sequence[str]) -> Float[np.ndarray, "N C"]:
    """The scores of a prediction file in the order of `image_ids`; the file must hold exactly these films."""
    found, scores = read_predictions(path, findings)
    missing, extra = np.setdiff1d(image_ids, found), np.setdiff1d(found, image_ids)
    if len(missing) or len(extra) or len(found) != len(image_ids):
        raise ValueError(
            f"{path}: scores {len(extra)} other films and lacks {len(missing)} of {len(image_ids)}; "
            "compare predictions of the same test films"
        )
    order = np.argsort(found)
    return scores[order[np.searchsorted(found[order], image_ids)]]


def _or_none(number: float) -> float | None:
    return None if np.isnan(number) else number
