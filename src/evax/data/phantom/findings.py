"""Lesions on the film's grid: their outlines, masks, boxes and density."""

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from evax.data.film import Box
from evax.data.phantom.drawing import fill, rotation, unit_circle
from evax.data.phantom.looks import LOOKS, SECTOR_CENTRE
from evax.data.phantom.plan import FINDINGS, FilmPlan, Lesion

LUNG_VALUES = (1.0, 2.0)  # right, left


def outline(lesion: Lesion) -> Float[np.ndarray, "m 2"]:
    """A lesion's border on the film, in unit coordinates."""
    look = LOOKS[lesion.finding]
    circle = unit_circle()
    if look.points_outward:
        shape = sector()
    else:
        angle = np.arctan2(circle[:, 1], circle[:, 0])
        lobes = np.sin(3 * angle + 20 * lesion.x) + np.sin(5 * angle + 20 * lesion.y)
        shape = circle * (1 + look.lobes * lobes)[:, None] * np.array([1.0, lesion.aspect])
    return lesion.radius * shape @ rotation(lesion.angle) + np.array([lesion.x, lesion.y])


def sector() -> Float[np.ndarray, "m 2"]:
    """A pneumothorax in local coordinates: part of a ring, open inward, around the origin."""
    angle = np.linspace(-1.0, 1.0, 13)
    arc = np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.concatenate([0.92 * arc, 1.62 * arc[::-1]]) - np.array([SECTOR_CENTRE, 0.0])


def lung_mask(plan: FilmPlan, size: int) -> UInt8[np.ndarray, "S S"]:
    """0 background, 1 right lung (left in the image), 2 left lung."""
    mask = np.zeros((size, size), np.uint8)
    for shape, value in zip(plan.lungs(), LUNG_VALUES, strict=True):
        fill(mask, [shape], value, sharp=True)
    return mask


def lesion_mask(lesion: Lesion, lungs: UInt8[np.ndarray, "S S"]) -> UInt8[np.ndarray, "S S"]:
    """1 where a lesion is, which is only within the lungs."""
    mask = np.zeros_like(lungs)
    fill(mask, [outline(lesion)], 1.0, sharp=True)
    return cv2.min(mask, lungs)


def lesion_bits(plan: FilmPlan, lungs: UInt8[np.ndarray, "S S"]) -> UInt8[np.ndarray, "S S"]:
    """Bit k is set where FINDINGS[k] is."""
    bits = np.zeros_like(lungs)
    for lesion in plan.lesions:
        bits |= lesion_mask(lesion, lungs) << FINDINGS.index(lesion.finding)
    return bits


def lesion_boxes(plan: FilmPlan, size: int) -> tuple[Box, ...]:
    """The smallest boxes around the masks of a film of this size."""
    lungs = lung_mask(plan, size)
    return tuple(
        Box(lesion.finding, *(edge / size for edge in cv2.boundingRect(lesion_mask(lesion, lungs))))
        for lesion in plan.lesions
    )


def add_lesions(
    plan: FilmPlan,
    tissue: Float32[np.ndarray, "S S"],
    vessels: Float32[np.ndarray, "S S"],
    lungs: Float32[np.ndarray, "S S"],
    rng: np.random.Generator,
    contrast: float = 1.0,
) -> None:
    """Change the density `tissue` and thin out `vessels` where the plan has lesions; `lungs` is 0..1.

    `contrast` multiplies the change of density.
    """
    for lesion in plan.lesions:
        window, region = soft_window(lesion, len(tissue))
        window *= lungs[region]
        look = LOOKS[lesion.finding]
        change = window * look.paint(*local_grid(lesion, region, len(tissue)), rng)
        if look.balance:
            change -= window * (look.balance * change.sum() / max(window.sum(), 1e-6))
        tissue[region] += contrast * change
        vessels[region] *= 1 - look.covers * window


def soft_window(lesion: Lesion, size: int) -> tuple[Float32[np.ndarray, "h w"], tuple[slice, slice]]:
    """A lesion's mask with a soft border, and the region of the film that it is for."""
    points = outline(lesion)
    blur = 0.5 * LOOKS[lesion.finding].edge * lesion.radius * size
    low = np.floor(points.min(axis=0) * size - 2 * blur).astype(int).clip(0, size - 1)
    high = np.ceil(points.max(axis=0) * size + 2 * blur).astype(int).clip(1, size)
    side = int((high - low).max())
    canvas = np.zeros((side, side), np.uint8)
    fill(canvas, [(points * size - low) / side], 255.0)
    soft = cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), max(blur, 0.3)) / 255
    region = slice(low[1], high[1]), slice(low[0], high[0])
    return soft[: high[1] - low[1], : high[0] - low[0]], region


def local_grid(
    lesion: Lesion, region: tuple[slice, slice], size: int
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Coordinates of a region's pixels in a lesion's own frame, in units of its radius."""
    rows, columns = region
    x = ((np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / size - lesion.x) / lesion.radius
    y = ((np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / size - lesion.y) / lesion.radius
    c, s = np.float32(np.cos(lesion.angle)), np.float32(np.sin(lesion.angle))
    return c * x[None] + s * y[:, None], c * y[:, None] - s * x[None]
