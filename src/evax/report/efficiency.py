"""EVA-X and its rivals side by side: a table of size, cost and mean AUROC, and the paper's efficiency figure."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from evax.report.baselines import Baseline, Ours, Size, read_baselines
from evax.report.canvas import quiet, slide
from evax.report.curves import BLUE, GREY, INK, MUTED, ORANGE, spread

REFERENCE = "eva_x_small"  # speeds are relative to it
PAPER = "Paper: ChestX-ray14, official test list, best epoch chosen on it; compare where ours is the same."
EVA_X = "EVA-X"
LEFT = "DenseNet-121"  # whose points are named at their left: ResNet-50's would hide them
BELOW_LEFT = ("DenseNet-121", "ResNet-50")  # whose own name stands left of their column, ViT-S being close
REACH = 0.07  # of the cost, from a point to its name
HALO = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
TICKS = (1, 2, 4, 8, 16, 32, 64)  # GMACs
GAP = 0.034  # of the panel's height, between two names


class Point(NamedTuple):
    """A backbone in the figure: cost in 10^9 multiply-adds, and mAUC in percent."""

    row: Baseline
    gmacs: float
    mauc: float
    is_ours: bool


def write_baselines(folder: Path, sizes: Mapping[str, Size], ours: Mapping[str, Ours], setting: str) -> str:
    """Write baselines.md, baselines.csv and baselines.png into `folder`; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_baselines() if row.backbone in sizes]
    header, cells = table(rows, sizes, ours)
    with (folder / "baselines.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *cells])
    lines = [f"| {' | '.join(line)} |" for line in (header, ["---"] * 2 + ["--:"] * (len(header) - 2), *cells)]
    text = "\n".join([*lines, *(["", f"Ours: {setting}. {PAPER}"] if setting else [])]) + "\n"
    (folder / "baselines.md").write_text(text, encoding="utf-8")
    draw_efficiency(folder / "baselines.png", rows, sizes, ours, setting)
    return text


def table(
    rows: Sequence[Baseline], sizes: Mapping[str, Size], ours: Mapping[str, Ours]
) -> tuple[list[str], list[list[str]]]:
    """Header and a line a backbone; speed, relative to EVA-X-S, and our scores where there are any."""
    reference = sizes[REFERENCE].films_per_second if REFERENCE in sizes else None
    header = ["method", "backbone", "`backbone=`", "parameters (M)", "GMACs"]
    header += ["speed"] * (reference is not None) + ["mAUC, paper"] + ["mAUC, ours"] * bool(ours)
    cells = []
    for row in rows:
        size = sizes[row.backbone]
        line = [row.method, row.architecture, f"`{row.backbone}`"]
        line += [f"{size.parameters / 1e6:.1f}", f"{size.macs / 1e9:.2f}"]
        if reference is not None:
            line.append(f"{size.films_per_second / reference:.2f}" if size.films_per_second else "–")
        line.append("–" if row.mauc is None else f"{row.mauc:.1f}")
        cells.append(line + [str(ours.get(row.backbone, "–"))] * bool(ours))
    return header, cells


def draw_efficiency(
    path: Path, rows: Sequence[Baseline], sizes: Mapping[str, Size], ours: Mapping[str, Ours], setting: str
) -> None:
    """mAUC against the logarithm of the cost: published values as discs, ours as rings in the same colours."""
    points = [Point(row, sizes[row.backbone].macs / 1e9, row.mauc, False) for row in rows if row.mauc is not None]
    own = [
        Point(row, sizes[row.backbone].macs / 1e9, ours[row.backbone].value, True)
        for row in rows
        if row.backbone in ours
    ]
    note = "discs: published" + (f" · rings: ours ({setting})" if own else "")
    title, subtitle = "Accuracy against cost", f"ChestX-ray14 after fine-tuning; {note}"
    with slide(path, title, subtitle, (12.5, 8.0)) as figure:
        axes = figure.add_subplot()
        quiet(axes, xlabel="GMACs for a film of 224 pixels, counted", ylabel="macro AUROC, %")
        for point in (*points, *own):
            color = _color(point.row)
            style: dict[str, Any] = {
                "markerfacecolor": "white" if point.is_ours else color,
                "markeredgewidth": 1.6,
                "zorder": 4,
            }
            axes.plot(point.gmacs, point.mauc, "o", markersize=9, color=color, **style)
        _connect(axes, [point for point in points if point.row.method == EVA_X])
        _scale(axes, [*points, *own])
        for architecture in dict.fromkeys(point.row.architecture for point in (*points, *own)):
            _name(axes, [point for point in (*points, *own) if point.row.architecture == architecture])


def _color(row: Baseline) -> str:
    if row.method == EVA_X:
        return ORANGE
    return BLUE if row.method == "Medical MAE" else GREY


def _connect(axes: Axes, points: Sequence[Point]) -> None:
    axes.plot([p.gmacs for p in points], [p.mauc for p in points], color=ORANGE, linewidth=1.2, alpha=0.5, zorder=1)


def _scale(axes: Axes, points: Sequence[Point]) -> None:
    """A logarithmic axis with room for the names at the right, and half a point above and below."""
    costs, scores = [point.gmacs for point in points], [point.mauc for point in points]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.3, max(costs) * 1.9)
    axes.set_ylim(min(scores) - 0.6, max(scores) + 0.4)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if min(costs) / 1.3 < tick < max(costs) * 1.9]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _name(axes: Axes, points: Sequence[Point]) -> None:
    """Names beside the points of one architecture, moved apart where they would overlap, each tied to its point."""
    low, high = axes.get_ylim()
    ordered = sorted(points, key=lambda point: point.mauc)
    architecture, gmacs = ordered[0].row.architecture, ordered[0].gmacs
    side = -1 if architecture == LEFT else 1
    heights = spread([(point.mauc - low) / (high - low) for point in ordered], GAP)
    for point, height in zip(ordered, heights, strict=True):
        is_eva_x = point.row.method == EVA_X
        end = gmacs * (1 + side * REACH), low + height * (high - low)
        axes.plot([gmacs, end[0]], [point.mauc, end[1]], color=GREY, linewidth=0.6, zorder=0)
        name = architecture.replace("ViT", EVA_X) if is_eva_x else point.row.method
        axes.annotate(
            f"{name} {point.mauc:.1f}{', ours' if point.is_ours else ''}",
            end,
            xytext=(3 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=10,
            fontweight="bold" if is_eva_x else "normal",
            color=MUTED if point.is_ours else INK,
            bbox=HALO,
        )
    place: dict[str, Any] = {
        "xytext": (0, 6),
        "textcoords": "offset points",
        "ha": "right" if architecture in BELOW_LEFT else "left",
    }
    axes.annotate(architecture, (gmacs, low), color=MUTED, fontsize=10, fontstyle="italic", **place)
