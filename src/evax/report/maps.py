"""Maps over films: a film with the maps of each method, galleries of a finding, tokens, and what a point attends to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from evax.report.canvas import HEADING, slide
from evax.report.curves import MUTED
from evax.report.wording import label

CELL, GAP, TITLE = 2.35, 0.28, 0.28  # inches: side of a picture, space between two, and a line of text above
COLUMNS = 6  # pictures side by side
BOX_COLOR, POINT_COLOR = "#35d0e0", "#35d0e0"
HEAT = "inferno"


class Explained(NamedTuple):
    """A film and its maps for one finding; `number` is its row in the pack, never a name.

    `boxes` are (x, y, width, height) in unit coordinates, `maps` by method, from 0 to 1.
    """

    number: int
    finding: str
    probability: float
    film: UInt8[np.ndarray, "S S"]
    boxes: tuple[tuple[float, float, float, float], ...]
    maps: Mapping[str, Float[np.ndarray, "H W"]]


def draw_film(explained: Explained, path: Path) -> None:
    """The film, then the film under the map of each method, with its boxes."""
    pictures = [("film", None), *explained.maps.items()]
    title = f"{label(explained.finding)} on film {explained.number}"
    subtitle = f"probability {explained.probability:.2f}{_box_words(len(explained.boxes))}"
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    with slide(path, title, subtitle, _size(rows, columns)) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (name, heat) in zip(axes, pictures, strict=False):
            show(axis, explained.film, heat, explained.boxes)
            axis.set_title(label(name), fontsize=11)
        for axis in axes[len(pictures) :]:
            axis.set_axis_off()


def draw_gallery(films: Sequence[Explained], path: Path) -> None:
    """Films of one finding, a row each, with the maps of all methods in columns."""
    names = list(films[0].maps)
    title, subtitle = f"Maps of {label(films[0].finding)}", f"{len(films)} films; numbers are rows of the pack"
    width, height = _size(len(films), len(names) + 1)
    with slide(path, title, subtitle + _box_words(max(len(each.boxes) for each in films), plain=True),
               (width, height - (len(films) - 1) * 0.8 * TITLE)) as figure:  # fmt: skip
        axes = figure.subplots(len(films), len(names) + 1, squeeze=False)
        for line, explained in zip(axes, films, strict=True):
            for axis, heat in zip(line, (None, *explained.maps.values()), strict=True):
                show(axis, explained.film, heat, explained.boxes)
            line[0].set_ylabel(f"film {explained.number}, p = {explained.probability:.2f}", fontsize=10, color=MUTED)
        for axis, name in zip(axes[0], ("film", *names), strict=True):
            axis.set_title(label(name), fontsize=11)


def draw_point(
    film: UInt8[np.ndarray, "S S"],
    number: int,
    point: tuple[float, float],
    maps: Mapping[str, Float[np.ndarray, "H W"]],
    path: Path,
) -> None:
    """What the patch at a point (x, y in unit coordinates) attends to, by head; as the paper's figure."""
    columns = min(COLUMNS, len(maps) + 1)
    rows = -(-(len(maps) + 1) // columns)
    title, subtitle = f"Attention of one point on film {number}", "last block; the point is marked"
    with slide(path, title, subtitle, _size(rows, columns)) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis, (name, heat) in zip(axes, (("film", None), *maps.items()), strict=False):
            show(axis, film, heat, ())
            mark(axis, point, len(film))
            axis.set_title(name, fontsize=11)
        for axis in axes[len(maps) + 1 :]:
            axis.set_axis_off()


def draw_tokens(
    films: UInt8[np.ndarray, "F S S"],
    numbers: Sequence[int],
    colours: Float[np.ndarray, "F R C 3"],
    path: Path,
) -> None:
    """Films, and below each its patch tokens in colours from 0 to 1; like colours are like tokens, on all films."""
    columns = min(COLUMNS, len(films))
    rows = -(-len(films) // columns)
    title, subtitle = "Patch tokens", "first three principal components of all films together, as red, green and blue"
    with slide(path, title, subtitle, _size(2 * rows, columns)) as figure:
        axes = figure.subplots(2 * rows, columns, squeeze=False)
        for axis in axes.ravel():
            axis.set_axis_off()
        for place, (film, number, colour) in enumerate(zip(films, numbers, colours, strict=True)):
            above, below = axes[2 * (place // columns) :, place % columns][:2]
            above.imshow(film, cmap="gray", vmin=0, vmax=255)
            above.set_title(f"film {number}", fontsize=11)
            below.imshow(colour, interpolation="nearest")


def show(
    axis: Axes,
    film: UInt8[np.ndarray, "S S"],
    heat: Float[np.ndarray, "H W"] | None,
    boxes: Sequence[tuple[float, float, float, float]],
) -> None:
    """A film without ticks; what a map leaves at 0 stays visible, what it lifts is coloured."""
    side = len(film)
    extent = (0, side, side, 0)
    axis.imshow(film, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="bilinear")
    if heat is not None:
        alpha = 0.85 * np.sqrt(np.clip(heat, 0, 1))
        axis.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=alpha, extent=extent, interpolation="nearest")
    for x, y, width, height in boxes:
        corner, sides = (x * side, y * side), (width * side, height * side)
        axis.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=BOX_COLOR, linewidth=1.6))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def mark(axis: Axes, point: tuple[float, float], side: int) -> None:
    """A ring with a dot at a point in unit coordinates."""
    x, y = point[0] * side, point[1] * side
    axis.plot(x, y, "o", markersize=11, markerfacecolor="none", markeredgecolor=POINT_COLOR, markeredgewidth=1.8)
    axis.plot(x, y, "o", markersize=3, color=POINT_COLOR)


def _box_words(count: int, *, plain: bool = False) -> str:
    if not count:
        return ""
    return "; boxes are the truth" if plain else f"; {count} box{'es' if count > 1 else ''} of the truth"


def _size(rows: int, columns: int) -> tuple[float, float]:
    return max(6.0, columns * (CELL + 0.12) + GAP), rows * (CELL + TITLE) + GAP + HEADING
