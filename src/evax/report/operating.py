"""ROC and precision-recall curves of every class beside their areas with intervals, from a report card.

What is drawn is what is stated: the area under each curve is the number beside it, ties included.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from evax.report.canvas import dots, legend_below, quiet, ranked, slide, unit_square, words_on
from evax.report.curves import BLUE, GREY, INK, MUTED, ORANGE
from evax.report.wording import MACRO, Remarks, label

SIZE = (12.8, 7.2)  # inches: a slide


class Outline(NamedTuple):
    """A curve from x = 0 to 1 by its corners, straight between them; x never falls, equal x are a rise or a drop."""

    x: Float[np.ndarray, "V"]
    y: Float[np.ndarray, "V"]


def roc_outline(counts: Mapping[str, Any]) -> Outline:
    """Sensitivity over the false positive rate, straight through tied scores: the area is the AUROC, ties half."""
    up, across = (np.array([0, *counts[name]], float) for name in ("true_positives", "false_positives"))
    before = across[1:] - np.array(counts["tied_negatives"], float)
    x, y = np.zeros((2, 2 * len(up)))
    x[1:-1:2], x[2:-1:2], x[-1] = before, across[1:], counts["num_negatives"]
    y[1:-1:2], y[2:-1:2], y[-1] = up[:-1], up[1:], up[-1]
    return Outline(x / counts["num_negatives"], y / up[-1])


def precision_recall_outline(counts: Mapping[str, Any]) -> Outline:
    """Precision over recall in steps: the area is the average precision, as scikit-learn defines it."""
    up, across = (np.array(counts[name], float) for name in ("true_positives", "false_positives"))
    recall = np.append(0.0, up / up[-1])
    return Outline(np.repeat(recall, 2)[1:-1], np.repeat(up / (up + across), 2))


def mean_outline(outlines: Sequence[Outline]) -> Outline:
    """The vertical average of curves, whose area is the mean of theirs."""
    x = np.unique(np.concatenate([each.x for each in outlines]))
    left, right = (np.mean([_at(each, x, side) for each in outlines], axis=0) for side in ("left", "right"))
    return Outline(np.repeat(x, 2), np.stack([left, right], axis=1).ravel())


def _at(outline: Outline, x: Float[np.ndarray, "G"], side: Literal["left", "right"]) -> Float[np.ndarray, "G"]:
    """The curve just left or right of some x."""
    last = len(outline.x) - 1
    if side == "right":
        start = np.clip(np.searchsorted(outline.x, x, side="right") - 1, 0, last)
        end = np.minimum(start + 1, last)
    else:
        end = np.clip(np.searchsorted(outline.x, x, side="left"), 0, last)
        start = np.maximum(end - 1, 0)
    width = outline.x[end] - outline.x[start]
    share = np.divide(x - outline.x[start], width, out=np.zeros(len(x)), where=width > 0)
    if side == "left":
        share = np.where(width > 0, share, 1.0)
    return outline.y[start] + share * (outline.y[end] - outline.y[start])


def draw_roc(card: Mapping[str, Any], path: Path) -> None:
    """Sensitivity over the false positive rate; the classes with the largest and the smallest area are named."""
    with slide(path, "Receiver operating characteristic", _subtitle(card, "auroc", "AUROC"), SIZE) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        outlines = {name: roc_outline(counts) for name, counts in card["curves"]["counts"].items()}
        colors = _draw_curves(left, card, outlines, "auroc", "roc_band")
        left.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label="chance")
        quiet(left, xlabel="1 − specificity", ylabel="sensitivity")
        unit_square(left)
        legend_below(left, handles=_handles(left, colors), fontsize=11)
        quiet(right, "AUROC", "95 % interval over patients")
        dots(right, ranked(card["metrics"]["auroc"], BLUE, colors, words_on(Remarks.of(card))))


def draw_precision_recall(card: Mapping[str, Any], path: Path) -> None:
    """Precision over recall; ticks mark the prevalence, which is the area of knowing nothing."""
    with slide(path, "Precision and recall", _subtitle(card, "auprc", "AUPRC"), SIZE) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        outlines = {name: precision_recall_outline(counts) for name, counts in card["curves"]["counts"].items()}
        colors = _draw_curves(left, card, outlines, "auprc", "precision_recall_band")
        quiet(left, xlabel="recall", ylabel="precision")
        unit_square(left)
        legend_below(left, handles=_handles(left, colors), fontsize=11)
        quiet(right, "AUPRC", "95 % interval over patients; a tick marks the prevalence")
        rows = ranked(card["metrics"]["auprc"], BLUE, colors, words_on(Remarks.of(card)))
        dots(right, rows)
        for height, row in enumerate(reversed(rows)):
            if row.name in card["curves"]["prevalence"]:
                right.plot(card["curves"]["prevalence"][row.name], height, "|", color=INK, markersize=11)
        right.set_xlim(left=0)


def _draw_curves(
    axes: Axes, card: Mapping[str, Any], outlines: Mapping[str, Outline], metric: str, band: str
) -> dict[str, str]:
    """Thin grey classes, the best and worst in colour, and the mean in its band; returns the colours used.

    Each line is labelled by its class.
    """
    values = {name: card["metrics"][metric]["per_class"][name]["value"] for name in outlines}
    colors = {}
    if len(values) > 2:
        colors = {max(values, key=lambda name: values[name]): INK, min(values, key=lambda name: values[name]): ORANGE}
    for name, outline in outlines.items():
        style: dict[str, Any] = {"linewidth": 1.6} if name in colors else {"linewidth": 0.9, "alpha": 0.7}
        axes.plot(*outline, color=colors.get(name, GREY), label=name, **style)
    if card["curves"][band] is not None:
        ends = (card["curves"][band][name] for name in ("low", "high"))
        axes.fill_between(card["curves"]["grid"], *ends, color=BLUE, alpha=0.2, linewidth=0)
    if outlines:
        axes.plot(*mean_outline(list(outlines.values())), color=BLUE, linewidth=3, label=MACRO)
    return colors


def _handles(axes: Axes, colors: Mapping[str, str]) -> list[Line2D]:
    """What the legend explains: the mean, the best and worst class, one line for all others, and chance."""
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    words = {MACRO: "mean of classes" + ", 95 % band" * bool(axes.collections), "chance": "chance"}
    words |= {name: f"{'best' if color == INK else 'worst'}: {label(name)}" for name, color in colors.items()}
    shown = [(lines[name], words[name]) for name in (MACRO, *colors, "chance") if name in lines]
    others = [line for name, line in lines.items() if name not in words]
    shown += [(others[0], "other classes" if colors else "classes")] if others else []
    return [
        Line2D(
            [], [], color=line.get_color(), linewidth=line.get_linewidth(), linestyle=line.get_linestyle(), label=text
        )
        for line, text in shown
    ]


def _subtitle(card: Mapping[str, Any], metric: str, words: str) -> str:
    """The mean with all that belongs beside it, how many findings it is over, and the test images."""
    beside, scores = Remarks.of(card), card["metrics"][metric]
    mean = beside.interval(MACRO, scores["macro"])
    images = f"{card['num_films']:,} images of {card['num_patients']:,} patients"
    return f"macro {words} {mean} · {images}\n{beside.coverage(scores['per_class'])}"
