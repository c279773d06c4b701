"""Multi-label nearest-neighbour scores from frozen features."""

import numpy as np
from jaxtyping import Bool, Float, Float32, Real

CHUNK = 1024  # query films compared with the bank at once


def unit_rows(features: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    """Rows scaled to length 1; a zero row stays zero."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(length > 0, length, 1)).astype(np.float32)


# Shapes: N bank films, M query films, D width, C classes, K neighbours
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
    if not 0 < num_neighbors <= len(bank):
        raise ValueError(f"num_neighbors={num_neighbors} must lie between 1 and the {len(bank)} bank films")
    known = np.ones(targets.shape, dtype=bool) if is_known is None else is_known
    positives = np.where(known, targets, 0).astype(np.float32)
    num_known = known.sum(axis=0)
    prevalence = np.full(targets.shape[1], np.nan, dtype=np.float32)
    np.divide(positives.sum(axis=0), num_known, out=prevalence, where=num_known > 0)
    unit_bank, unit_queries = unit_rows(bank), unit_rows(queries)
    scores = np.empty((len(queries), targets.shape[1]), dtype=np.float32)
    for start in range(0, len(queries), CHUNK):
        cosine = unit_queries[start : start + CHUNK] @ unit_bank.T  # (M, N)
        nearest = np.argpartition(-cosine, num_neighbors - 1, axis=1)[:, :num_neighbors]  # (M, K)
        # exp(cosine - 1) instead of exp(cosine): the same shares, and never above 1
        weight = np.exp((np.take_along_axis(cosine, nearest, axis=1) - 1) / temperature)[..., None]
        votes = (weight * known[nearest]).sum(axis=1)  # (M, C)
        share = np.broadcast_to(prevalence, votes.shape).copy()
        np.divide((weight * positives[nearest]).sum(axis=1), votes, out=share, where=votes > 0)
        scores[start : start + CHUNK] = share
    return scores
