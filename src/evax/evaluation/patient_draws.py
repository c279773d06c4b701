"""Resamples of patients as one small matrix, and statistics that are computed from sums over patients.

A resample multiplies all films of a patient by the same number. So whatever is a sum over films is a product of a
tally per patient, made once, with the multiplicities of many draws: (K, P) @ (P, D).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.sparse import csr_array

from evax.evaluation.bootstrap import chunks_of, resample_counts
from evax.progress import tracked


# Shapes: N films, P patients, D draws, K tallied quantities
class Patients(NamedTuple):
    """Who the patients are, ascending, and whose each film is (a row of `names`)."""

    names: Shaped[np.ndarray, "P"]
    of_film: Int[np.ndarray, "N"]


class Resampled(NamedTuple):
    """A statistic of the films as they are, and of every resample."""

    value: Float[np.ndarray, "*rest"]
    draws: Float[np.ndarray, "D *rest"]


Statistic = Callable[[Float[np.ndarray, "P D"]], Float[np.ndarray, "D *rest"]]


def group_by_patient(patient_ids: Shaped[np.ndarray, "N"]) -> Patients:
    """The patients of some films."""
    names, of_film = np.unique(patient_ids, return_inverse=True)
    return Patients(names, of_film)


def tally(
    rows: Int[np.ndarray, "M"],
    patients: Int[np.ndarray, "M"],
    shape: tuple[int, int],
    weights: Float[np.ndarray, "M"] | None = None,
) -> csr_array:
    """A sparse (K, P) matrix: the films (or their weights) of each patient in each row."""
    values = np.ones(len(rows)) if weights is None else weights.astype(np.float64)
    return csr_array((values, (rows, patients)), shape=shape)  # entries of equal place are added up


def resample(statistic: Statistic, patients: Patients, *, num_draws: int = 1000, seed: int = 0) -> Resampled:
    """The statistic on all patients once each, and on resamples of them: those of `bootstrap.patient_bootstrap`.

    It receives how often each patient is drawn, (P, D), whole numbers as float64: sums stay exact below 2^53. The draws
    of one patient are all alike and tell nothing: NaN.
    """
    once = np.ones((len(patients.names), 1))
    chunks = chunks_of(num_draws)
    draws = [
        statistic(resample_counts(patients.names, chunk, seed).astype(np.float64))
        for chunk in tracked(chunks, "bootstrap over patients, in parts", len(chunks))
    ]
    value, drawn = statistic(once)[0], np.concatenate(draws)
    return Resampled(value, drawn if len(patients.names) > 1 else np.full_like(drawn, np.nan))
