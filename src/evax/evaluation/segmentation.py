"""Overlap of predicted and true masks: what is counted of each film, and thresholds.

A film is counted once, at every threshold: sums of these counts give every pooled score, every resample of patients
and the threshold, without another pass.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, Real, UInt8

from evax.evaluation.surface import hd95

THRESHOLDS = (np.arange(1, 100) / 100).astype(np.float32)  # 0.01 to 0.99
MIDDLE = 0.5  # of classes whose threshold nothing can choose
OFFICIAL = 0.3  # of EVA-X's segmentation of one class: the default of its framework (recipes: logit of one channel)
TP, FP, FN, TN = range(4)  # the last axis of counts, in pixels


# Shapes: N films, K foreground classes, T thresholds, H W pixels of the scored frame
class FilmCounts(NamedTuple):
    """What one film adds: `counts` has the background as class 0, `hd95` is in pixels and NaN where a mask is empty."""

    curve: Int64[np.ndarray, "K T 4"]
    counts: Int64[np.ndarray, "K1 4"]
    hd95: Float64[np.ndarray, "K"]


class SetCounts(NamedTuple):
    """`FilmCounts` of many films."""

    curve: Int64[np.ndarray, "N K T 4"]
    counts: Int64[np.ndarray, "N K1 4"]
    hd95: Float64[np.ndarray, "N K"]


def stack(films: Sequence[FilmCounts]) -> SetCounts:
    """The counts of films in their order."""
    return SetCounts(*(np.stack(each) for each in zip(*films, strict=True)))


def count_film(
    probabilities: Float32[np.ndarray, "K H W"],
    truth: UInt8[np.ndarray, "H W"],
    thresholds: Float[np.ndarray, "K"],
) -> FilmCounts:
    """Counts of one film; `truth` is 0 background or k + 1 for the k-th class, as `MaskPolicy` makes it."""
    decided, true = (planes(each, len(probabilities)) for each in (decide(probabilities, thresholds), truth))
    distances = np.array([hd95(*each) for each in zip(decided[1:], true[1:], strict=True)])
    return FilmCounts(curve_of_film(probabilities, truth), confusion(decided, true), distances)


def curve_of_film(
    probabilities: Float32[np.ndarray, "K H W"], truth: UInt8[np.ndarray, "H W"]
) -> Int64[np.ndarray, "K T 4"]:
    """Counts of one film at every threshold."""
    true = planes(truth, len(probabilities))[1:]
    return np.stack([counts_by_threshold(*each) for each in zip(winners(probabilities), true, strict=True)])


def planes(mask: UInt8[np.ndarray, "H W"], num_classes: int) -> Bool[np.ndarray, "K1 H W"]:
    """Where a mask shows the background, and each class."""
    check_classes(mask, num_classes)
    return mask == np.arange(num_classes + 1, dtype=np.uint8)[:, None, None]


def check_classes(truth: UInt8[np.ndarray, "H W"], num_classes: int) -> None:
    """Refuse a mask with other values than 0 to `num_classes`, such as the 255 of a picture."""
    if (highest := int(truth.max(initial=0))) > num_classes:
        raise ValueError(
            f"a mask holds {highest}, and there are {num_classes} classes; let data.masks say what its values mean"
        )


def confusion(
    prediction: Bool[np.ndarray, "*sets H W"], truth: Bool[np.ndarray, "*sets H W"]
) -> Int64[np.ndarray, "*sets 4"]:
    """TP, FP, FN, TN in pixels."""
    both, predicted, true = (each.sum((-2, -1), dtype=np.int64) for each in (prediction & truth, prediction, truth))
    size = truth.shape[-2] * truth.shape[-1]
    return np.stack([both, predicted - both, true - both, size - predicted - true + both], axis=-1)


def counts_by_threshold(scores: Float32[np.ndarray, "H W"], truth: Bool[np.ndarray, "H W"]) -> Int64[np.ndarray, "T 4"]:
    """`confusion` of `scores > t` for every t of THRESHOLDS, from one histogram."""
    num_below = np.searchsorted(THRESHOLDS, scores.ravel())  # thresholds that a pixel is above
    num_bins = len(THRESHOLDS) + 1
    histogram = np.bincount(num_below + num_bins * truth.ravel(), minlength=2 * num_bins).reshape(2, num_bins)
    above = histogram[:, ::-1].cumsum(1)[:, ::-1][:, 1:]  # pixels above each threshold, of background and class
    size = histogram.sum(1)[:, None]
    return np.stack([above[1], above[0], size[1] - above[1], size[0] - above[0]], axis=-1)


def dice(counts: Real[np.ndarray, "*sets 4"]) -> Float64[np.ndarray, "*sets"]:
    """2 TP / (2 TP + FP + FN) in [0, 1]; NaN where both masks are empty."""
    return ratio(2 * counts[..., TP], 2 * counts[..., TP] + counts[..., FP] + counts[..., FN])


def jaccard(counts: Real[np.ndarray, "*sets 4"]) -> Float64[np.ndarray, "*sets"]:
    """TP / (TP + FP + FN) in [0, 1]; NaN where both masks are empty."""
    return ratio(counts[..., TP], counts[..., TP] + counts[..., FP] + counts[..., FN])


def ratio(parts: Real[np.ndarray, "*sets"], wholes: Real[np.ndarray, "*sets"]) -> Float64[np.ndarray, "*sets"]:
    """Quotients, NaN where there is nothing to divide by."""
    parts, wholes = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    return np.divide(parts, wholes, out=np.full(parts.shape, np.nan), where=wholes > 0)


def winners(probabilities: Float32[np.ndarray, "K H W"]) -> Float32[np.ndarray, "K H W"]:
    """Each class where it is the most probable one of the foreground, 0 elsewhere: no pixel has two classes."""
    if len(probabilities) == 1:
        return probabilities
    is_first = probabilities.argmax(0) == np.arange(len(probabilities))[:, None, None]
    return np.where(is_first, probabilities, np.float32(0))


def decide(probabilities: Float32[np.ndarray, "K H W"], thresholds: Float[np.ndarray, "K"]) -> UInt8[np.ndarray, "H W"]:
    """The predicted mask: the most probable class of the foreground where it is above its threshold, else 0."""
    is_class = winners(probabilities) > thresholds.astype(np.float32)[:, None, None]
    return (is_class * np.arange(1, len(probabilities) + 1, dtype=np.uint8)[:, None, None]).max(0).astype(np.uint8)


def fitted_thresholds(curve: Int64[np.ndarray, "N K T 4"]) -> Float64[np.ndarray, "K"]:
    """The threshold of each class with the highest pooled Dice, of equal ones that next to the middle.

    A class that no film shows gets the middle.
    """
    pooled = curve.sum(0)
    has_class = pooled[:, 0, TP] + pooled[:, 0, FN] > 0
    from_middle = np.argsort(np.abs(THRESHOLDS - MIDDLE), kind="stable")
    best = from_middle[np.nan_to_num(dice(pooled), nan=-1.0)[:, from_middle].argmax(1)]
    return np.where(has_class, (best + 1) / 100, MIDDLE)
