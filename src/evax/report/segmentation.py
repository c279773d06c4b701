"""Masks on films: truth, prediction and error side by side, the worst films, and what the scores are made of."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from evax.report.canvas import Row, dots, legend_below, quiet, slide, stamped
from evax.report.curves import BLUE, GREY, INK, MUTED, ORANGE
from evax.report.segmentation_record import HEADLINE, LABELS, NEEDED, NO_POSITIVES
from evax.report.wording import CLASSES, coverage, label, number

# Colours that remain apart for readers who do not tell red from green.
HIT, FALSE, MISSED, OTHER = "#00a884", "#ffa600", "#d4408f", "#7a5cff"
ERRORS = {"found": HIT, "false alarm": FALSE, "missed": MISSED, "another class": OTHER}
CLASS_COLORS = ("#4da3ff", "#e0d000", "#ff6e5a", "#2f6f4f", "#9a6b3f")
OPACITY = 0.5
PANEL = 2.7  # inches
NUM_WORST = 10


class Shown(NamedTuple):
    """One film with its masks, 0 background or k + 1 for the k-th class; `row` is its row in the pack.

    `dice` is the mean over classes, None where nothing could be scored.
    """

    row: int
    film: UInt8[np.ndarray, "H W"]
    truth: UInt8[np.ndarray, "H W"]
    prediction: UInt8[np.ndarray, "H W"]
    dice: float | None


def draw_overlays(films: Sequence[Shown], classes: Sequence[str], title: str, path: Path) -> None:
    """A line a film: the film, its true mask, the predicted one, and where they differ."""
    heads = ("film", "truth", "prediction", "error")
    with slide(path, title, "films by their row in the pack", (4 * PANEL + 0.6, len(films) * PANEL + 1.7)) as figure:
        grid = figure.subplots(len(films), len(heads), squeeze=False)
        for line, shown in zip(grid, films, strict=True):
            for axes, mask in zip(line[1:3], (shown.truth, shown.prediction), strict=True):
                picture(axes, painted(shown.film, mask, CLASS_COLORS))
            picture(line[0], painted(shown.film, np.zeros_like(shown.truth), ()))
            picture(line[3], painted(shown.film, errors(shown.truth, shown.prediction), tuple(ERRORS.values())))
            line[0].set_title(f"row {shown.row}   Dice {number(shown.dice)}", loc="left", fontsize=10)
        for axes, head in zip(grid[0][1:], heads[1:], strict=True):
            axes.set_title(head, loc="left", fontsize=10, color=MUTED)
        legend(figure, dict(zip(classes, CLASS_COLORS, strict=False)) | kinds(classes))


def draw_worst(films: Sequence[Shown], classes: Sequence[str], path: Path) -> None:
    """The errors of the films with the lowest Dice."""
    num_columns = 5
    num_lines = -(-len(films) // num_columns)
    with slide(
        path,
        f"The {len(films)} worst films",
        "lowest Dice of a film, one empty mask of the two counts 0; by row in the pack",
        (num_columns * PANEL + 0.6, num_lines * (PANEL + 0.2) + 1.6),
    ) as figure:
        places = figure.subplots(num_lines, num_columns, squeeze=False).ravel()
        for axes in places[len(films) :]:
            axes.set_axis_off()
        for axes, shown in zip(places, films, strict=False):
            picture(axes, painted(shown.film, errors(shown.truth, shown.prediction), tuple(ERRORS.values())))
            axes.set_title(f"row {shown.row}   Dice {number(shown.dice)}", loc="left", fontsize=10)
        legend(figure, kinds(classes))


def write_score_figures(card_file: Path, predictions: Path, folder: Path) -> list[Path]:
    """The figures of a report card and of the table of films beside it: scores, and Dice by film and threshold."""
    card = json.loads(card_file.read_text(encoding="utf-8"))
    with stamped(card.get("incomplete") or ()):
        draw_scores(card, folder / "scores.png")
        draw_dice(card, pd.read_parquet(predictions), folder / "dice.png")
    return [folder / "scores.png", folder / "dice.png"]


def draw_scores(card: Mapping[str, Any], path: Path) -> None:
    """Every convention's score of overlap, and what is true of whole films: the mean over classes with its interval."""
    names = [name for name in LABELS if name != "hd95_px"]
    rows = [
        Row(
            LABELS[name],
            **card["metrics"][name]["macro"],
            color=BLUE if name == HEADLINE else GREY,
            remark=NEEDED.get(name, NO_POSITIVES) if card["metrics"][name]["macro"]["value"] is None else "",
        )
        for name in names
    ]
    distance = card["metrics"]["hd95_px"]["macro"]
    numbers = "; ".join(
        f"{label(name)}: {of['positive']} positive, {of['empty']} empty films" for name, of in card["numbers"].items()
    )
    subtitle = f"95 % interval over {card['num_patients']} patients. {numbers}"
    if card["not_scored"]:
        subtitle += f"\n{coverage(len(card['classes']) - len(card['not_scored']), card['not_scored'], CLASSES)}"
    with slide(path, "One segmentation by every convention", subtitle, (11.0, 0.42 * len(rows) + 2.3)) as figure:
        axes = figure.subplots()
        quiet(axes, xlabel=f"score; HD95 {number(distance['value'], 1)} pixels")
        dots(axes, rows)
        axes.set_xlim(-0.02, 1.02)


def draw_dice(card: Mapping[str, Any], films: pd.DataFrame, path: Path) -> None:
    """Of each class: Dice of the positive films, and pooled Dice by threshold with the one that was used."""
    classes = card["classes"]
    with slide(
        path,
        "Dice by film and by threshold",
        f"{card['num_films']} test films; threshold by {card['threshold_from']}",
        (11.0, 3.1 * len(classes) + 1.3),
    ) as figure:
        for line, name in zip(figure.subplots(len(classes), 2, squeeze=False), classes, strict=True):
            own = films[films["class"] == name]
            positive = own[own["tp"] + own["fn"] > 0]["dice"].to_numpy()
            draw_histogram(line[0], positive, label(name))
            draw_thresholds(line[1], card, name)


def draw_histogram(axes: Axes, values: Float[np.ndarray, "N"], name: str) -> None:
    """How many films have which Dice."""
    quiet(axes, name, f"{len(values)} positive films", xlabel="Dice of a film", ylabel="films")
    axes.hist(values, bins=np.linspace(0, 1, 21).tolist(), color=BLUE, edgecolor="white", linewidth=0.8)
    if len(values):
        axes.axvline(float(np.median(values)), color=INK, linewidth=1)
        axes.annotate(
            f"median {np.median(values):.3f}",
            (float(np.median(values)), 1),
            xytext=(-4, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=9,
        )
    axes.set_xlim(0, 1)


def draw_thresholds(axes: Axes, card: Mapping[str, Any], name: str) -> None:
    """Pooled Dice of test and validation films at every threshold."""
    curves, used = card["dice_by_threshold"], card["thresholds"][name]
    few = card["threshold_remarks"].get(name, "").removeprefix("threshold ")
    quiet(axes, "", f"threshold {used:g}{f' ({few})' if few else ''}", xlabel="threshold", ylabel="pooled Dice")
    for split, color in (("val", GREY), ("test", BLUE)):
        if split in curves:
            heights = [np.nan if value is None else value for value in curves[split][name]]
            axes.plot(curves["thresholds"], heights, color=color, linewidth=2, label=split)
    axes.axvline(used, color=ORANGE, linewidth=1.2)
    legend_below(axes, gap=0.2, fontsize=10, labelcolor=MUTED)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)


def errors(truth: UInt8[np.ndarray, "H W"], prediction: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """The kinds of ERRORS, from 1; 0 where both are background."""
    both = (truth > 0) & (prediction > 0)
    kinds_of = (both & (truth == prediction), (truth == 0) & (prediction > 0), (truth > 0) & (prediction == 0))
    return np.select([*kinds_of, both], [1, 2, 3, 4], 0).astype(np.uint8)


def kinds(classes: Sequence[str]) -> dict[str, str]:
    """The colours of ERRORS; of one class there is no other."""
    return ERRORS if len(classes) > 1 else {name: color for name, color in ERRORS.items() if color != OTHER}


def painted(
    film: UInt8[np.ndarray, "H W"], mask: UInt8[np.ndarray, "H W"], colors: Sequence[str]
) -> UInt8[np.ndarray, "H W 3"]:
    """A film with each value of a mask, from 1, in its colour."""
    table = np.array([[0, 0, 0], *(rgb(color) for color in colors)], np.float32)
    grey = np.repeat(film[..., None], 3, axis=-1).astype(np.float32)
    places = np.where(mask > 0, (mask.astype(int) - 1) % max(len(colors), 1) + 1, 0)
    opacity = OPACITY * (mask > 0)[..., None]
    return np.rint(grey * (1 - opacity) + table[places] * opacity).astype(np.uint8)


def rgb(color: str) -> list[int]:
    """The channels of "#rrggbb"."""
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]


def picture(axes: Axes, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Pixels without axes."""
    axes.imshow(pixels, interpolation="antialiased")
    axes.set_axis_off()


def legend(figure: Figure, colors: Mapping[str, str]) -> None:
    """What the colours mean, below the pictures."""
    patches = [Patch(color=color, label=label(name)) for name, color in colors.items()]
    figure.legend(handles=patches, loc="outside lower left", ncols=6, frameon=False, fontsize=11)
