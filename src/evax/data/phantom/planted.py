"""A faint checkered square at a random place of the lungs: a finding whose place is known to the pixel.

It is for maps of what a model sees. Half of the films have one, and nothing else that is ill. The checks leave the
square's mean as it was, so that neither the film's brightness nor its brightest pixel tells where it is.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from evax.data.film import Box, Pixels
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.phantom.plan import PLANTED, FilmPlan, draw_place
from evax.data.phantom.render import render

SQUARE = "Square"
PREVALENCE = 0.5
SIDE = (0.22, 0.26)  # of the film
CHECKS = 6  # along a side
STEP = 24.0  # grey values that a check adds or takes


class Square(NamedTuple):
    """A square in unit coordinates of the film: its middle and its side."""

    x: float
    y: float
    side: float


def draw_square(plan: FilmPlan) -> Square | None:
    """The square of a film, its middle uniform over both lungs, or None for a film without one."""
    rng = keyed_generator(plan.seed, Stream.PHANTOM, epoch=PLANTED, index=plan.number)
    if rng.random() >= PREVALENCE:
        return None
    x, y, _ = draw_place(plan.lungs(), rng)
    return Square(x, y, rng.uniform(*SIDE))


def square_box(square: Square, size: int) -> Box:
    """The square's pixels on a film of this size, in unit coordinates."""
    side = round(square.side * size)
    left, top = (min(max(round(middle * size - side / 2), 0), size - side) for middle in (square.x, square.y))
    return Box(SQUARE, left / size, top / size, side / size, side / size)


def render_planted(plan: FilmPlan, size: int, contrast: float = 1.0) -> Pixels:
    """A film without lesions, checkered within its square; `lesions` is 1 there. `contrast` multiplies the checks."""
    image, masks = render(plan._replace(lesions=()), size)
    mask = square_mask(draw_square(plan), size)
    checkered = image.astype(np.float32)
    if mask.any():
        side = round(float(mask.sum()) ** 0.5)
        top, left = (int(each.min()) for each in np.nonzero(mask))
        checkered[top : top + side, left : left + side] += contrast * STEP * checks(side)
    return Pixels(np.clip(np.rint(checkered), 0, 255).astype(np.uint8), {**masks, "lesions": mask})


def checks(side: int) -> Float[np.ndarray, "side side"]:
    """A checkerboard of this many pixels, -1 and 1."""
    place = np.arange(side) * CHECKS // side
    return np.where((place[:, None] + place) % 2, 1.0, -1.0)


def square_mask(square: Square | None, size: int) -> UInt8[np.ndarray, "S S"]:
    """1 within the square."""
    mask = np.zeros((size, size), np.uint8)
    if square is not None:
        _, *edges = square_box(square, size)
        left, top, side, _ = (round(edge * size) for edge in edges)
        mask[top : top + side, left : left + side] = 1
    return mask
