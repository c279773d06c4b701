"""Whether probabilities mean what they say: Brier score and expected calibration error."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.sparse import csr_array

from evax.evaluation.patient_draws import Patients, tally

Bins = Literal["width", "mass"]
NUM_BINS = 15  # as in Guo et al. 2017


# Shapes: N films, C classes, P patients, D draws, B bins
def bin_numbers(
    probabilities: Float[np.ndarray, "N"], num_bins: int = NUM_BINS, kind: Bins = "width"
) -> Int[np.ndarray, "N"]:
    """The bin of each probability, from 0; bins hold their upper edge, and equal probabilities share a bin.

    "width" cuts [0, 1] into equal parts, ((b - 1)/B, b/B] as in Guo et al. 2017; "mass" puts as many films into each,
    as in Nixon et al. 2019, so far as ties let it.
    """
    if kind == "width":
        edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    else:
        ends = np.ceil(np.arange(1, num_bins) * len(probabilities) / num_bins).astype(int) - 1
        edges = np.sort(probabilities)[ends[ends >= 0]]
    return np.searchsorted(edges, probabilities, side="left")


@dataclass(frozen=True, slots=True)
class Bin:
    """Films of one bin: how many, their mean probability, and the share of them that is positive."""

    num_films: int
    probability: float
    frequency: float


def reliability(
    probabilities: Float[np.ndarray, "N"],
    targets: Real[np.ndarray, "N"],
    num_bins: int = NUM_BINS,
    kind: Bins = "width",
) -> list[Bin]:
    """The reliability diagram (DeGroot & Fienberg 1983): its bins that hold a film, in order."""
    bins = bin_numbers(probabilities, num_bins, kind)
    return [
        Bin(int(inside.sum()), float(probabilities[inside].mean()), float(targets[inside].mean()))
        for inside in (bins == number for number in np.unique(bins))
    ]


class BrierScore:
    """Mean squared error of probabilities (Brier 1950, for one class), in [0, 1], tallied per patient."""

    def __init__(
        self,
        probabilities: Float[np.ndarray, "N C"],
        targets: Real[np.ndarray, "N C"],
        patients: Patients,
        is_known: Bool[np.ndarray, "N C"] | None = None,
    ) -> None:
        film, column = np.nonzero(scorable(probabilities, is_known))
        shape = (probabilities.shape[1], len(patients.names))
        owner = patients.of_film[film]
        self.errors = tally(column, owner, shape, (probabilities - targets)[film, column] ** 2)
        self.films = tally(column, owner, shape)

    def __call__(self, counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D C"]:
        """Scores of resamples; NaN for a class without a known film."""
        return _mean(self.errors @ counts, self.films @ counts).T


class CalibrationError:
    """Expected calibration error of each class, in [0, 1], tallied per patient and bin.

    ECE = sum_b n_b / N |mean target - mean probability of bin b| (Naeini et al. 2015; Guo et al. 2017, equation 3) of
    the probability of the class itself, not of the class called: the classwise error of Nixon et al. 2019. The bins
    are those of all films, in every resample.
    """

    def __init__(
        self,
        probabilities: Float[np.ndarray, "N C"],
        targets: Real[np.ndarray, "N C"],
        patients: Patients,
        is_known: Bool[np.ndarray, "N C"] | None = None,
        *,
        num_bins: int = NUM_BINS,
        kind: Bins = "width",
    ) -> None:
        can_score = scorable(probabilities, is_known)
        columns = [np.flatnonzero(can_score[:, c]) for c in range(probabilities.shape[1])]
        self.gaps = [
            self._gaps(probabilities[films, c], targets[films, c], patients.of_film[films], (num_bins, kind), patients)
            for c, films in enumerate(columns)
        ]
        owners = patients.of_film[np.concatenate(columns)]
        classes = np.repeat(np.arange(len(columns)), [len(films) for films in columns])
        self.films = tally(classes, owners, (len(columns), len(patients.names)))

    @staticmethod
    def _gaps(
        probabilities: Float[np.ndarray, "M"],
        targets: Real[np.ndarray, "M"],
        owners: Int[np.ndarray, "M"],
        binning: tuple[int, Bins],
        patients: Patients,
    ) -> csr_array:
        bins = bin_numbers(probabilities, *binning)
        return tally(bins, owners, (binning[0], len(patients.names)), targets - probabilities)

    def __call__(self, counts: Float[np.ndarray, "P D"]) -> Float[np.ndarray, "D C"]:
        """Errors of resamples; NaN for a class without a known film."""
        gaps = np.stack([np.abs(each @ counts).sum(axis=0) for each in self.gaps])
        return _mean(gaps, self.films @ counts).T


def brier_per_class(
    probabilities: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
) -> Float[np.ndarray, "C"]:
    """Brier score of every class over its known films."""
    return BrierScore(probabilities, targets, _one_patient(len(targets)), is_known)(np.ones((1, 1)))[0]


def calibration_error_per_class(
    probabilities: Float[np.ndarray, "N C"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
    *,
    num_bins: int = NUM_BINS,
    kind: Bins = "width",
) -> Float[np.ndarray, "C"]:
    """Expected calibration error of every class over its known films."""
    patients = _one_patient(len(targets))
    error = CalibrationError(probabilities, targets, patients, is_known, num_bins=num_bins, kind=kind)
    return error(np.ones((1, 1)))[0]


def scorable(
    probabilities: Float[np.ndarray, "N C"], is_known: Bool[np.ndarray, "N C"] | None
) -> Bool[np.ndarray, "N C"]:
    """Known films whose probability is one; NaN marks a class without a model."""
    given = ~np.isnan(probabilities)
    if (probabilities[given] < 0).any() or (probabilities[given] > 1).any():
        raise ValueError("probabilities must lie in [0, 1]; logits were given")
    return given if is_known is None else given & is_known


def _one_patient(num_films: int) -> Patients:
    return Patients(np.zeros(1), np.zeros(num_films, dtype=np.int64))


def _mean(sums: Float[np.ndarray, "C D"], films: Float[np.ndarray, "C D"]) -> Float[np.ndarray, "C D"]:
    return np.divide(sums, films, out=np.full(films.shape, np.nan), where=films > 0)
