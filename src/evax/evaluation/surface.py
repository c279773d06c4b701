"""How far the outlines of two masks are apart."""

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_erosion, distance_transform_edt

PERCENT = 95


def hd95(prediction: Bool[np.ndarray, "H W"], truth: Bool[np.ndarray, "H W"]) -> float:
    """The larger of the two 95th percentiles of distances from one outline to the other, in pixels.

    NaN where one of the masks is empty: nothing can be measured (Maier-Hein et al., Metrics Reloaded, 2024). Films
    where that happened are counted beside the score.
    """
    if not (prediction.any() and truth.any()):
        return float("nan")
    ours, theirs = (outline(each) for each in around(prediction, truth))
    there = distance_transform_edt(~theirs)[ours]
    back = distance_transform_edt(~ours)[theirs]
    return float(max(np.percentile(there, PERCENT), np.percentile(back, PERCENT)))


def outline(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels of a mask with a neighbour at a side that is outside; beyond the film is outside."""
    return mask & ~binary_erosion(mask)


def around(
    first: Bool[np.ndarray, "H W"], second: Bool[np.ndarray, "H W"]
) -> tuple[Bool[np.ndarray, "H2 W2"], Bool[np.ndarray, "H2 W2"]]:
    """Both masks in the smallest box that holds them: distances between them are the same there."""
    rows, columns = (np.flatnonzero((first | second).any(axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return first[box], second[box]
