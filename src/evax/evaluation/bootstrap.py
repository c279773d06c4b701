"""Confidence intervals from resampling patients: films of one patient are drawn together."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer, Real, Shaped, UInt16

from evax.data.keyed_random import Stream, keyed_generator
from evax.evaluation.auroc import auroc_per_class, macro, rank_classes, resampled_auroc
from evax.progress import tracked

MIN_DEFINED = 0.5  # of the draws, for an interval: fewer tell of the samples that could be scored, not of all
CHUNK = 64  # draws handed to a statistic at once: 25,596 films need 13 MB of running sums per class


class Estimate(NamedTuple):
    """A value and its percentile interval."""

    value: float
    low: float
    high: float


# Shapes: N films, C classes, D draws
def resample_counts(
    patient_ids: Shaped[np.ndarray, "N"], draws: range, seed: int
) -> UInt16[np.ndarray, "N {len(draws)}"]:
    """How often each film is drawn, per draw; draw d depends on (seed, d) and the set of patients only."""
    patients, patient_of_film = np.unique(patient_ids, return_inverse=True)
    counts = np.empty((len(patients), len(draws)), dtype=np.uint16)
    for column, draw in enumerate(draws):
        generator = keyed_generator(seed, Stream.BOOTSTRAP, index=draw)
        chosen = generator.integers(len(patients), size=len(patients))
        counts[:, column] = np.bincount(chosen, minlength=len(patients))
    return counts[patient_of_film]


def patient_bootstrap(
    statistic: Callable[[Integer[np.ndarray, "N D"]], Float[np.ndarray, "D *rest"]],
    patient_ids: Shaped[np.ndarray, "N"],
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Float[np.ndarray, "{num_draws} *rest"]:
    """The statistic of every resample; it receives the multiplicity of each film for many draws at once."""
    chunks = tracked(chunks_of(num_draws), "bootstrap over patients, in parts", -(-num_draws // CHUNK))
    draws = np.concatenate([statistic(resample_counts(patient_ids, draws, seed)) for draws in chunks])
    return draws if len(np.unique(patient_ids)) > 1 else np.full_like(draws, np.nan)  # one patient does not vary


def chunks_of(num_draws: int) -> list[range]:
    """The draws that a statistic gets at once."""
    return [range(start, min(start + CHUNK, num_draws)) for start in range(0, num_draws, CHUNK)]


def auroc_draws(
    scores: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    patient_ids: Shaped[np.ndarray, "N"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Float[np.ndarray, "{num_draws} C"]:
    """AUROC per draw and class; NaN where a draw lacks positives or negatives of a class."""
    rankings = rank_classes(scores, targets, is_known)

    def per_class(counts: Integer[np.ndarray, "N D"]) -> Float[np.ndarray, "D C"]:
        return np.stack([resampled_auroc(ranking, counts) for ranking in rankings], axis=1)

    return patient_bootstrap(per_class, patient_ids, num_draws=num_draws, seed=seed)


def macro_draws(draws: Float[np.ndarray, "D C"], is_defined: Bool[np.ndarray, "C"]) -> Float[np.ndarray, "D"]:
    """Macro mean per draw over the classes that are defined on the full sample.

    A draw that misses one of them is NaN: its mean over fewer classes would be another quantity.
    """
    if not is_defined.any():
        return np.full(len(draws), np.nan)
    return draws[:, is_defined].mean(axis=1)


def estimate(value: float, draws: Float[np.ndarray, "D"], level: float = 0.95) -> Estimate:
    """The value with the percentile interval of its defined draws; NaN bounds if fewer than `MIN_DEFINED` are."""
    defined = draws[~np.isnan(draws)]
    if not len(defined) or len(defined) < MIN_DEFINED * len(draws):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
    return Estimate(value, float(low), float(high))


def paired_macro_difference(
    scores: Float[np.ndarray, "N C"],
    rival_scores: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    patient_ids: Shaped[np.ndarray, "N"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
    *,
    num_draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Macro AUROC of `scores` minus that of `rival_scores`, both scored on the same resamples."""
    values, rival_values = (auroc_per_class(rows, targets, is_known) for rows in (scores, rival_scores))
    is_defined = ~np.isnan(values)
    if (is_defined == np.isnan(rival_values)).any():
        raise ValueError("a class is scored by one of the two methods only; compare over the same classes")
    draws, rival_draws = (
        auroc_draws(rows, targets, patient_ids, is_known, num_draws=num_draws, seed=seed)
        for rows in (scores, rival_scores)
    )
    difference = macro(values).value - macro(rival_values).value
    return estimate(difference, macro_draws(draws - rival_draws, is_defined))
