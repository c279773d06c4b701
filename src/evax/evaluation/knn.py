"""Multi-label nearest-neighbour scores from frozen features."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Real

from evax.evaluation.probe import Folds, FoldScorer, HeldOut, Tick, fit_axes, nothing

CHUNK = 256  # query films compared with the bank at once: 90 MB of cosines with 86,524 films


def unit_rows(features: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    """Rows scaled to length 1; a zero row stays zero."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = np.empty(features.shape, np.float32)
    return np.divide(features, np.where(length > 0, length, 1), out=unit, casting="same_kind")


# Shapes: N bank films, M query films, D width, C classes, K neighbours
class Neighbors(NamedTuple):
    """Nearest bank films of every query, nearest first, and their cosines."""

    rows: Int[np.ndarray, "M K"]
    cosines: Float32[np.ndarray, "M K"]

    def first(self, count: int) -> "Neighbors":
        """The nearest of them."""
        return Neighbors(self.rows[:, :count], self.cosines[:, :count])


def nearest_films(
    bank: Float32[np.ndarray, "N D"], queries: Float32[np.ndarray, "M D"], num_neighbors: int, tick: Tick = nothing
) -> Neighbors:
    """The bank films of the largest cosine; rows have length 1."""
    if not 0 < num_neighbors <= len(bank):
        raise ValueError(f"num_neighbors={num_neighbors} must lie between 1 and the {len(bank)} bank films")
    rows = np.empty((len(queries), num_neighbors), np.int64)
    cosines = np.empty(rows.shape, np.float32)
    across = torch.from_numpy(bank).T
    for start in range(0, len(queries), CHUNK):
        chunk = slice(start, start + CHUNK)
        cosines[chunk], rows[chunk] = (torch.from_numpy(queries[chunk]) @ across).topk(num_neighbors, dim=1)
        tick()
    return Neighbors(rows, cosines)


def weighted_share(
    neighbors: Neighbors,
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    temperature: float,
) -> Float32[np.ndarray, "M C"]:
    """Share of positives among neighbours, weighted by exp(cosine / temperature), as in `knn_scores`."""
    positives = np.where(is_known, targets, 0).astype(np.float32)
    num_known = is_known.sum(axis=0)
    prevalence = np.full(targets.shape[1], np.nan, dtype=np.float32)
    np.divide(positives.sum(axis=0), num_known, out=prevalence, where=num_known > 0)
    scores = np.empty((len(neighbors.rows), targets.shape[1]), dtype=np.float32)
    for start in range(0, len(scores), CHUNK):
        rows = neighbors.rows[start : start + CHUNK]
        # exp(cosine - 1) instead of exp(cosine): the same shares, and never above 1
        weight = np.exp((neighbors.cosines[start : start + CHUNK] - 1) / temperature)[..., None]  # (M, K, 1)
        votes = (weight * is_known[rows]).sum(axis=1)  # (M, C)
        share = np.broadcast_to(prevalence, votes.shape).copy()
        np.divide((weight * positives[rows]).sum(axis=1), votes, out=share, where=votes > 0)
        scores[start : start + CHUNK] = share
    return scores


def knn_scores(
    bank: Float[np.ndarray, "N D"],
    targets: Real[np.ndarray, "N C"],
    queries: Float[np.ndarray, "M D"],
    is_known: Bool[np.ndarray, "N C"] | None = None,
    *,
    num_neighbors: int = 20,
    temperature: float = 0.07,
) -> Float32[np.ndarray, "M C"]:
    """Share of positives among the nearest bank films by cosine, weighted by exp(cosine / temperature).

    In [0, 1]. Neighbours whose label is unknown have no say; with none left the bank's prevalence is given
    (NaN for a class that is unknown in the whole bank). The weighting is that of Wu et al. 2018.
    """
    known = np.ones(targets.shape, dtype=bool) if is_known is None else is_known
    return weighted_share(
        nearest_films(unit_rows(bank), unit_rows(queries), num_neighbors), targets, known, temperature
    )


class Vote(NamedTuple):
    """How many neighbours have a say, and the temperature of their weights."""

    num_neighbors: int
    temperature: float


def vote_scores(
    bank: Float[np.ndarray, "N D"],
    targets: Real[np.ndarray, "N C"],
    is_known: Bool[np.ndarray, "N C"],
    queries: Float[np.ndarray, "M D"],
    votes: Sequence[Vote],
    tick: Tick = nothing,
) -> Iterator[Float32[np.ndarray, "M C"]]:
    """`knn_scores` of features that the bank standardises, one for each vote; the neighbours are found once.

    Votes of more neighbours than there are bank films take them all.
    """
    axes = fit_axes(bank)
    nearest = nearest_films(
        unit_rows(axes.project(bank)), unit_rows(axes.project(queries)), most_of(votes, len(bank)), tick
    )
    return shares(nearest, targets, is_known, votes)


def most_of(votes: Sequence[Vote], num_films: int) -> int:
    """How many neighbours the votes need, at most all films of the bank."""
    return min(num_films, max(vote.num_neighbors for vote in votes))


def shares(
    nearest: Neighbors, targets: Real[np.ndarray, "N C"], is_known: Bool[np.ndarray, "N C"], votes: Sequence[Vote]
) -> Iterator[Float32[np.ndarray, "M C"]]:
    """Scores by each of the votes."""
    for vote in votes:
        yield weighted_share(nearest.first(vote.num_neighbors), targets, is_known, vote.temperature)


def fold_votes(
    features: Float[np.ndarray, "N D"], names: Sequence[str] | None = None, tick: Tick = nothing
) -> FoldScorer:
    """What scores held-out films by the votes of those that a fold fits on."""

    def held_out(
        targets: Real[np.ndarray, "N C"], is_known: Bool[np.ndarray, "N C"], folds: Folds, grid: Sequence[Vote]
    ) -> HeldOut:
        for fold, (fitted, others) in enumerate(folds):
            axes = fit_axes(features, fitted)
            bank, queries = (unit_rows(axes.project(features, rows)) for rows in (fitted, others))
            nearest = nearest_films(bank, queries, most_of(grid, len(fitted)), tick)
            for setting, scores in enumerate(shares(nearest, targets[fitted], is_known[fitted], grid)):
                yield setting, fold, scores

    return held_out
