"""Multi-label nearest-neighbour scores from frozen features."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Real

from evax.evaluation.probe import fit_axes

CHUNK = 1024  # query films compared with the bank at once


def unit_rows(features: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    """Rows scaled to length 1; a zero row stays zero."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(length > 0, length, 1)).astype(np.float32)


# Shapes: N bank films, M query films, D width, C classes, K neighbours
class Neighbors(NamedTuple):
    """Nearest bank films of every query, nearest first, and their cosines."""

    rows: Int[np.ndarray, "M K"]
    cosines: Float32[np.ndarray, "M K"]

    def first(self, count: int) -> "Neighbors":
        """The nearest of them."""
        return Neighbors(self.rows[:, :count], self.cosines[:, :count])


def nearest_films(bank: Float[np.ndarray, "N D"], queries: Float[np.ndarray, "M D"], num_neighbors: int) -> Neighbors:
    """The bank films of the largest cosine."""
    if not 0 < num_neighbors <= len(bank):
        raise ValueError(f"num_neighbors={num_neighbors} must lie between 1 and the {len(bank)} bank films")
    unit_bank, unit_queries = unit_rows(bank), unit_rows(queries)
    parts = []
    for start in range(0, len(queries), CHUNK):
        cosine = unit_queries[start : start + CHUNK] @ unit_bank.T  # (M, N)
        rows = np.argpartition(-cosine, num_neighbors - 1, axis=1)[:, :num_neighbors]
        order = np.argsort(-np.take_along_axis(cosine, rows, axis=1), axis=1, kind="stable")
        rows = np.take_along_axis(rows, order, axis=1)
        parts.append(Neighbors(rows, np.take_along_axis(cosine, rows, axis=1)))
    return Neighbors(*(np.concatenate(each) for each in zip(*parts, strict=True)))


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
    return weighted_share(nearest_films(bank, queries, num_neighbors), targets, known, temperature)


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
) -> Iterator[Float32[np.ndarray, "M C"]]:
    """`knn_scores` of features that the bank standardises, one for each vote; the neighbours are found once.

    Votes of more neighbours than there are bank films take them all.
    """
    axes = fit_axes(bank, rotate=False)
    most = min(len(bank), max(vote.num_neighbors for vote in votes))
    neighbors = nearest_films(axes.project(bank), axes.project(queries), most)
    for vote in votes:
        yield weighted_share(neighbors.first(vote.num_neighbors), targets, is_known, vote.temperature)
