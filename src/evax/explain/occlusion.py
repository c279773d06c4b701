"""Occlusion: how far a logit falls when a window of the film is hidden."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from evax.explain.explainable import Explainable

FILMS_AT_ONCE = 64


def occlusion(
    explainable: Explainable,
    images: Float[Tensor, "B 3 H W"],
    classes: Int[Tensor, "B"],
    *,
    window: int = 2,
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, "B R C"]:
    """Fall of the logit, mean over the windows that hide a cell, cut at 0 (Zeiler and Fergus 2014).

    The film is cut into `grid` cells (the model's own grid), which are the stride; a window is `window` cells wide and
    high, and shows the film's mean. A cell whose hiding raises the logit is no evidence for the class, and is 0: maps
    are scaled to [0, 1] before they are scored, and one cell below 0 would lift all the others.
    """
    rows, columns = explainable.grid(images) if grid is None else grid
    height, width = images.shape[-2:]
    if not (1 <= window <= min(rows, columns) and rows <= height and columns <= width):
        raise ValueError(f"occlusion: window={window} cells of a {rows} x {columns} grid do not fit {height} x {width}")
    places = [(r, c) for r in range(rows - window + 1) for c in range(columns - window + 1)]
    total = torch.zeros(len(images), rows, columns, device=images.device)
    count = torch.zeros(rows, columns, device=images.device)
    falls = _falls(explainable, images, classes, places, window, (rows, columns))
    for (row, column), fall in zip(places, falls, strict=True):
        cells = slice(row, row + window), slice(column, column + window)
        total[:, *cells] += fall[:, None, None]
        count[cells] += 1
    return (total / count).relu()


@torch.no_grad()
def _falls(
    explainable: Explainable,
    images: Tensor,
    classes: Tensor,
    places: list[tuple[int, int]],
    window: int,
    grid: tuple[int, int],
) -> Float[Tensor, "K B"]:
    """The fall of every film's logit for every place of the window."""
    mean = images.mean((2, 3), keepdim=True)
    tops, lefts = (_edges(side, cells) for side, cells in zip(images.shape[-2:], grid, strict=True))
    at_once = max(1, FILMS_AT_ONCE // len(images))
    hidden = []
    with explainable.evaluating():
        whole = explainable.chosen_logits(images, classes)
        for start in range(0, len(places), at_once):
            chunk = places[start : start + at_once]
            films = images.repeat(len(chunk), 1, 1, 1).unflatten(0, (len(chunk), -1))
            for film, (row, column) in zip(films, chunk, strict=True):
                high, wide = slice(tops[row], tops[row + window]), slice(lefts[column], lefts[column + window])
                film[..., high, wide] = mean
            logits = explainable.chosen_logits(films.flatten(0, 1), classes.repeat(len(chunk)))
            hidden.append(logits.unflatten(0, (len(chunk), -1)))
    return (whole - torch.cat(hidden)).float()


def _edges(side: int, cells: int) -> list[int]:
    """The pixels at which cells begin, and the last one ends."""
    return [round(side * cell / cells) for cell in range(cells + 1)]
