"""ROC and precision-recall curves of every class beside their areas with intervals, from a report card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from evax.report.canvas import dots, interval, quiet, ranked, slide, unit_square
from evax.report.curves import BLUE, GREY, INK, MUTED, ORANGE

SIZE = (12.8, 7.2)  # inches: a slide


def draw_roc(card: Mapping[str, Any], path: Path) -> None:
    """Sensitivity over the false positive rate; the classes with the largest and the smallest area are named."""
    subtitle = f"macro AUROC {interval(card['metrics']['auroc']['macro'])} · {_films(card)}"
    with slide(path, "Receiver operating characteristic", subtitle, SIZE) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        colors = _draw_curves(left, card, "roc", "auroc")
        left.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
        quiet(left, xlabel="1 − specificity", ylabel="sensitivity")
        unit_square(left)
        left.legend(loc="lower right", frameon=False, fontsize=11)
        quiet(right, "AUROC", "95 % interval over patients")
        dots(right, ranked(card["metrics"]["auroc"], BLUE, colors))


def draw_precision_recall(card: Mapping[str, Any], path: Path) -> None:
    """Precision over recall; ticks mark the prevalence, which is the area of knowing nothing."""
    subtitle = f"macro AUPRC {interval(card['metrics']['auprc']['macro'])} · {_films(card)}"
    with slide(path, "Precision and recall", subtitle, SIZE) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        colors = _draw_curves(left, card, "precision_recall", "auprc")
        quiet(left, xlabel="recall", ylabel="precision")
        unit_square(left)
        left.legend(loc="upper right", frameon=False, fontsize=11)
        quiet(right, "AUPRC", "95 % interval over patients; a tick marks the prevalence")
        rows = ranked(card["metrics"]["auprc"], BLUE, colors)
        dots(right, rows)
        for height, row in enumerate(reversed(rows)):
            if row.name in card["curves"]["prevalence"]:
                right.plot(card["curves"]["prevalence"][row.name], height, "|", color=INK, markersize=11)
        right.set_xlim(left=0)


def _draw_curves(axes: Axes, card: Mapping[str, Any], kind: str, metric: str) -> dict[str, str]:
    """Thin grey classes, the best and worst in colour, and the mean in its band; returns the colours used."""
    curves, grid = card["curves"][kind], card["curves"]["grid"]
    values = {name: card["metrics"][metric]["per_class"][name]["value"] for name in curves}
    colors = {}
    if len(values) > 2:
        colors = {max(values, key=lambda name: values[name]): INK, min(values, key=lambda name: values[name]): ORANGE}
    for name, curve in curves.items():
        color = colors.get(name, GREY)
        axes.plot(
            grid, curve, color=color, linewidth=1.6 if name in colors else 0.9, alpha=1 if name in colors else 0.7
        )
    mean = card["curves"][f"{kind}_macro"]
    if mean is not None:
        axes.fill_between(grid, _floats(mean["low"]), _floats(mean["high"]), color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(grid, mean["value"], color=BLUE, linewidth=3, label="mean of classes, 95 % band")
    for name, color in colors.items():
        axes.plot(
            [], [], color=color, linewidth=1.6, label=f"{'best' if color == INK else 'worst'}: {name.replace('_', ' ')}"
        )
    axes.plot([], [], color=GREY, linewidth=0.9, label="other classes" if colors else "classes")
    return colors


def _floats(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _films(card: Mapping[str, Any]) -> str:
    return f"{card['num_films']:,} films of {card['num_patients']:,} patients"
