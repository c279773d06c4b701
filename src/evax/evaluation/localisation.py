"""How well a map finds a region of a film, a box or a mask: IoU at thresholds, pointing game, energy, pixel AUROC.

Boxes and the IoU are those of EVA-X's `grad_cam/get_cams.py`; the pointing game is of Zhang et al. (2018), the energy
in the box of Wang et al. (2020, Score-CAM).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from evax.data.film import Box
from evax.evaluation.auroc import auroc

SCORED_SIZE = 224  # side of a whole film in pixels, as maps and boxes are compared
THRESHOLDS = np.arange(1, 61) / 100  # of the published search
BOX_PIXELS = 1024  # the film that the published code takes boxes to be of


# Shapes: H x W pixels, M regions, T thresholds
@dataclass(frozen=True, slots=True)
class RegionScores:
    """Scores of a map on each of M regions, all in [0, 1].

    `iou` is of the pixels above each of THRESHOLDS. `pointing` is the share of the highest pixels that lie inside,
    `energy` the share of the map's sum (of an empty map: of the film's area). `pixel_auroc` is NaN where a region has
    no pixel, or all.
    """

    iou: Float[np.ndarray, "M T"]
    pointing: Float[np.ndarray, "M"]
    energy: Float[np.ndarray, "M"]
    pixel_auroc: Float[np.ndarray, "M"]
    area: Float[np.ndarray, "M"]


def box_region(box: Box, size: int) -> Bool[np.ndarray, "{size} {size}"]:
    """The pixels of a film whose middle lies in a box; of a box between two middles, the pixel below its own middle."""
    return np.outer(_within(box.y, box.height, size), _within(box.x, box.width, size))


def official_region(box: Box) -> Bool[np.ndarray, "224 224"]:
    """The filled box of the published code: corner and sides are cut to whole pixels, of 1,024 and then of 224."""
    left, top, width, height = (_cut_twice(length) for length in (box.x, box.y, box.width, box.height))
    region = np.zeros((SCORED_SIZE, SCORED_SIZE), bool)
    region[top : top + height, left : left + width] = True
    return region


def score_regions(
    pairs: Iterable[tuple[Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]],
) -> RegionScores:
    """Scores of maps in [0, 1], each on its own region."""
    rows = [
        (overlaps(heat, region), pointing(heat, region), energy(heat, region), pixel_auroc(heat, region), region.mean())
        for heat, region in pairs
    ]
    if not rows:
        raise ValueError("there is no region to score")
    return RegionScores(*(np.array(column, np.float64) for column in zip(*rows, strict=True)))


def overlaps(heat: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "T"]:
    """IoU of a region with the pixels above each of THRESHOLDS; 0 where both are empty."""
    passed = np.searchsorted(THRESHOLDS.astype(heat.dtype), heat.ravel(), side="left")  # thresholds below each pixel
    above, above_inside = (num_above(each) for each in (passed, passed[region.ravel()]))
    union = above + region.sum() - above_inside
    return np.divide(above_inside, union, out=np.zeros(len(THRESHOLDS)), where=union > 0)


def num_above(passed: Integer[np.ndarray, "N"]) -> Integer[np.ndarray, "T"]:
    """How many of N pixels are above each threshold, from how many thresholds each is above."""
    counts = np.bincount(passed, minlength=len(THRESHOLDS) + 1)
    return counts[::-1].cumsum()[::-1][1:]


def pointing(heat: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> float:
    """1 where the highest pixel lies inside, else 0; equally high ones are averaged."""
    return float(region[heat == heat.max()].mean())


def energy(heat: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> float:
    """Share of the map's sum that lies inside."""
    total = heat.sum(dtype=np.float64)
    return float(heat[region].sum(dtype=np.float64) / total) if total > 0 else float(region.mean())


def pixel_auroc(heat: Float[np.ndarray, "H W"], region: Bool[np.ndarray, "H W"]) -> float:
    """Chance that a pixel inside is higher than one outside, ties counting half."""
    return auroc(heat.ravel(), region.ravel().astype(np.int8))


def _within(start: float, length: float, size: int) -> Bool[np.ndarray, "{size}"]:
    middles = (np.arange(size) + 0.5) / size
    inside = (middles > start) & (middles < start + length)
    if not inside.any():
        inside[min(int((start + length / 2) * size), size - 1)] = True
    return inside


def _cut_twice(length: float) -> int:
    pixels = int(length * BOX_PIXELS + 1e-6)  # a pack's sides are differences of its edges, to rounding
    return pixels * SCORED_SIZE // BOX_PIXELS
