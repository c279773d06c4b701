"""Learning curves of one run as small multiples, from its metrics.csv."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator

INK, MUTED, GRID = "#22272e", "#6b7480", "#e4e7eb"
BLUE, GREY, ORANGE = "#1f5fa8", "#98a1ac", "#c8611a"
OVER = {  # columns that tell over how many of what a mean is, and the means
    "val/num_findings": ("findings", ("val/auroc_macro", "val/linear_auroc", "val/knn_auroc")),
    "val/num_classes": ("classes", ("val/dice",)),
}
NUM_PIECES = 40  # a dense curve is averaged over this many stretches of the run


class CurvesError(ValueError):
    """A run directory without drawable metrics; one line naming the file."""


class Curve(NamedTuple):
    """One column of metrics.csv where it was measured: samples seen and values."""

    samples: Float[np.ndarray, "K"]
    values: Float[np.ndarray, "K"]


class Line(NamedTuple):
    """How a column is shown."""

    column: str
    label: str
    color: str


class Panel(NamedTuple):
    """Columns that share a scale, drawn together; `reference` is the value of knowing nothing."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    reference: tuple[float, str] | None = None
    is_noisy: bool = False


PANELS = (
    Panel(
        "Loss",
        "per batch and its running mean",
        (Line("train/loss", "train", BLUE), Line("val/loss", "val", ORANGE)),
        is_noisy=True,
    ),
    Panel(
        "Agreement with the target tokens",
        "cosine on hidden patches of val films",
        (Line("val/cosine", "student", BLUE), Line("val/cosine_constant", "best constant", GREY)),
    ),
    Panel("Excess over the best constant", "cosine", (Line("val/cosine_excess", "excess", BLUE),), (0.0, "none")),
    Panel(
        "Directions in use",
        "RankMe of val features",
        (Line("val/feature_rank", "student", BLUE), Line("val/target_rank", "target", GREY)),
    ),
    Panel(
        "What the features know",
        "macro AUROC on val films",
        (
            Line("val/auroc_macro", "classifier", INK),
            Line("val/linear_auroc", "linear probe", BLUE),
            Line("val/knn_auroc", "nearest neighbours", ORANGE),
        ),
        (0.5, "chance"),
    ),
    Panel("Masks", "pooled Dice on val films", (Line("val/dice", "foreground", INK),)),
    Panel("Learning rate", "per step", (Line("train/lr", "lr", BLUE),)),
)


def read_metrics(path: Path) -> dict[str, Curve]:
    """The curves of a wide metrics.csv; empty cells were not measured, a column without values is absent."""
    if not path.is_file():
        raise CurvesError(f"{path}: no such file; give the folder of a run that has logged metrics")
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or "trainer/samples_seen" not in rows[0]:
        raise CurvesError(f"{path}: needs a column trainer/samples_seen and at least one row")
    drawn = [line.column for panel in PANELS for line in panel.lines if line.column in rows[0]]
    drawn += [column for column in OVER if column in rows[0]]
    curves = {}
    for column in drawn:
        try:
            cells = [(float(row["trainer/samples_seen"]), float(row[column])) for row in rows if row[column]]
        except ValueError as error:
            raise CurvesError(f"{path}: column {column} is not numeric ({error})") from None
        finite = [cell for cell in cells if np.isfinite(cell).all()]
        if finite:
            samples, values = np.array(sorted(finite)).T
            curves[column] = Curve(samples, values)
    return curves


def running_mean(curve: Curve) -> Curve:
    """Means over equal stretches of a dense curve; a sparse one as it is."""
    if len(curve.values) < 2 * NUM_PIECES:
        return curve
    pieces = [np.array_split(part, NUM_PIECES) for part in curve]
    return Curve(*(np.array([piece.mean() for piece in part]) for part in pieces))


def write_curves(run_dir: Path) -> Path:
    """Draw RUN/figures/curves.png and return its path."""
    curves = read_metrics(run_dir / "metrics.csv")
    panels = [panel for panel in PANELS if any(line.column in curves for line in panel.lines)]
    if not panels:
        raise CurvesError(f"{run_dir / 'metrics.csv'}: holds none of the columns that are drawn")
    path = run_dir / "figures" / "curves.png"
    path.parent.mkdir(exist_ok=True)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "text.color": INK}):
        figure = draw(panels, curves, run_dir.resolve().name)
        figure.savefig(path, dpi=160, metadata={"Software": None})
    return path


def draw(panels: list[Panel], curves: dict[str, Curve], title: str) -> Figure:
    """The panels on a grid at most three wide, all over the same axis of samples seen."""
    num_columns = min(3, len(panels))
    num_rows = -(-len(panels) // num_columns)
    figure = Figure(
        figsize=(4.4 * num_columns, 3.0 * num_rows + 0.6),
        layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.06),
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold")
    end = max(curve.samples[-1] for curve in curves.values())
    grid = figure.subplots(num_rows, num_columns, squeeze=False).flat
    for axes, panel in zip(grid, panels, strict=False):
        draw_panel(axes, panel, curves, end)
    for axes in list(grid)[len(panels) :]:
        axes.set_visible(False)
    return figure


def draw_panel(axes: Axes, panel: Panel, curves: dict[str, Curve], end: float) -> None:
    """One panel; each line carries its name and last value at its right end."""
    shown = [(line, curves[line.column]) for line in panel.lines if line.column in curves]
    for line, curve in shown:
        mean = running_mean(curve) if panel.is_noisy else curve
        if mean is not curve:
            axes.plot(curve.samples, curve.values, color=line.color, linewidth=0.5, alpha=0.25)
        marker = "o" if len(mean.values) < NUM_PIECES else None
        axes.plot(mean.samples, mean.values, color=line.color, linewidth=1.6, marker=marker, markersize=2.6)
    if panel.reference:
        axes.axhline(panel.reference[0], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    note = panel.unit
    if panel.is_noisy:
        low, high = settled_range([curve for _, curve in shown])
        low, high = low - 0.12 * (high - low), high + 0.12 * (high - low)
        tell_beyond(axes, [curve for _, curve in shown], low, high)
    for column, (what, means) in OVER.items():
        if column in curves and any(line.column in means for line, _ in shown):
            note += f", over {curves[column].values[-1]:.0f} {what}"
    style_axes(axes, panel, end, note)
    if panel.is_noisy:
        axes.set_ylim(low, high)
    label_ends(axes, panel, shown)


def settled_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Lowest and highest value but for the first tenth of each curve: its fall would hide all that follows."""
    settled = np.concatenate([curve.values[len(curve.values) // 10 :] for curve in curves])
    low, high = float(settled.min()), float(settled.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def tell_beyond(axes: Axes, curves: Sequence[Curve], low: float, high: float) -> None:
    """Write what an axis from `low` to `high` cuts off, beside the first tenth, which alone can be cut."""
    values = np.concatenate([curve.values for curve in curves])
    for value, is_cut, height in ((values.max(), values.max() > high, 0.97), (values.min(), values.min() < low, 0.03)):
        if is_cut:
            style: dict[str, Any] = {
                "transform": axes.transAxes,
                "fontsize": 8,
                "color": MUTED,
                "va": "top" if height > 0.5 else "bottom",
            }
            axes.text(
                0.14,
                height,
                f"{'↑' if height > 0.5 else '↓'} {'up' if height > 0.5 else 'down'} to {value:.3g}, off the scale",
                **style,
            )


def style_axes(axes: Axes, panel: Panel, end: float, note: str) -> None:
    """Title and unit at the left, horizontal grid only, and room for the last point."""
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=INK, pad=18)
    axes.text(0, 1.035, note, transform=axes.transAxes, fontsize=8, color=MUTED)
    axes.set_xlim(-0.015 * end, 1.015 * end)
    axes.margins(y=0.12)
    axes.set_xlabel("samples seen", fontsize=8, color=MUTED)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "−"))
    axes.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    axes.yaxis.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def label_ends(axes: Axes, panel: Panel, shown: list[tuple[Line, Curve]]) -> None:
    """Names and last values right of the panel, moved apart where they would overlap."""
    labels = []
    for line, curve in shown:
        last = (running_mean(curve) if panel.is_noisy else curve).values[-1]
        labels.append((last, f"{line.label}\n{last:.3g}", line.color))
    if panel.reference:
        labels.append((*panel.reference, MUTED))
    low, high = axes.get_ylim()
    labels.sort(key=lambda label: label[0])
    heights = spread([(value - low) / (high - low) for value, _, _ in labels])
    for height, (_, text, color) in zip(heights, labels, strict=True):
        axes.text(
            1.02,
            height,
            text,
            transform=axes.transAxes,
            color=color,
            fontsize=8,
            va="center",
            linespacing=1.1,
        )


def spread(heights: list[float], gap: float = 0.15) -> list[float]:
    """Ascending heights in axes units; neighbours closer than `gap` share the move apart."""
    placed = list(heights)
    for _ in range(20 * len(placed)):
        for i in range(1, len(placed)):
            overlap = max(0.0, gap - (placed[i] - placed[i - 1]))
            placed[i - 1] -= overlap / 2
            placed[i] += overlap / 2
    return placed
