"""DeLong's variance of AUROCs, and whether two on the same films differ, by midranks (Sun & Xu 2014).

It takes films as independent. Films of one patient are alike, so with several films a patient the standard error is
too small and p too low; the paired patient bootstrap of `comparison` stands beside it and is the one to believe.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Real
from scipy.stats import norm, rankdata


# Shapes: N films, A methods, P positives and M negatives of one class
class DeLong(NamedTuple):
    """AUROC of the first method minus that of the second; NaN where a class cannot be scored."""

    difference: float
    standard_error: float
    p: float  # two-sided, of no difference; NaN where the difference has no variance and is not 0


class Areas(NamedTuple):
    """AUROC of each method and their covariance."""

    auroc: Float[np.ndarray, "A"]
    covariance: Float[np.ndarray, "A A"]


def delong_covariance(
    scores: Float[np.ndarray, "A N"],
    targets: Real[np.ndarray, "N"],
    is_known: Bool[np.ndarray, "N"] | None = None,
) -> Areas:
    """AUROCs of methods on the known films of one class and their covariance (DeLong et al. 1988, equation 4).

    The placement value of a positive is its midrank among all less that among the positives, over the number of
    negatives; likewise for negatives (Sun & Xu 2014, equations 3 to 8). One positive or negative has no variance: NaN.
    """
    known = np.ones(len(targets), dtype=bool) if is_known is None else is_known
    if not np.isin(targets[known], (0, 1)).all():
        raise ValueError("known targets must be 0 or 1; mask the others with is_known")
    positives, negatives = scores[:, known & (targets == 1)], scores[:, known & (targets == 0)]
    num_positives, num_negatives = positives.shape[1], negatives.shape[1]
    undefined = np.full(len(scores), np.nan)
    if not num_positives or not num_negatives or np.isnan(scores[:, known]).any():
        return Areas(undefined, np.full((len(scores), len(scores)), np.nan))
    ranks = rankdata(np.concatenate([positives, negatives], axis=1), axis=1)
    of_positives = (ranks[:, :num_positives] - rankdata(positives, axis=1)) / num_negatives
    of_negatives = 1 - (ranks[:, num_positives:] - rankdata(negatives, axis=1)) / num_positives
    covariance = _covariance(of_positives) / num_positives + _covariance(of_negatives) / num_negatives
    return Areas(of_positives.mean(axis=1), covariance)


def delong_test(
    scores: Float[np.ndarray, "N"],
    rival_scores: Float[np.ndarray, "N"],
    targets: Real[np.ndarray, "N"],
    is_known: Bool[np.ndarray, "N"] | None = None,
) -> DeLong:
    """Difference of two correlated AUROCs, z = difference / standard error against a normal distribution."""
    areas = delong_covariance(np.stack([scores, rival_scores]).astype(np.float64), targets, is_known)
    difference = float(areas.auroc[0] - areas.auroc[1])
    contrast = np.array([1.0, -1.0])
    variance = float(contrast @ areas.covariance @ contrast)
    error = math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan
    if error > 0:
        return DeLong(difference, error, float(2 * norm.sf(abs(difference) / error)))
    return DeLong(difference, error, 1.0 if difference == 0 and error == 0 else math.nan)


def holm(p: Float[np.ndarray, "C"]) -> Float[np.ndarray, "C"]:
    """p values adjusted for having tested them all (Holm 1979); NaN stays NaN and is not counted."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def _covariance(placements: Float[np.ndarray, "A M"]) -> Float[np.ndarray, "A A"]:
    if placements.shape[1] < 2:
        return np.full((len(placements), len(placements)), np.nan)
    centred = placements - placements.mean(axis=1, keepdims=True)
    return centred @ centred.T / (placements.shape[1] - 1)
