"""What figures for slides share: a canvas without global state, quiet axes, and rows of values with intervals."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from evax.report.curves import GREY, GRID, INK, MUTED, ORANGE
from evax.report.wording import MACRO, Remarks, Score, label, number

DPI = 160
HEADING = 0.95  # inches, with one line below the title
LINE = 0.2  # inches: a further line
CHARACTER = 0.083  # inches: a usual one of that line
MEAN = "macro mean"


class Row(NamedTuple):
    """One line of a table drawn as dots: its name, value and 95 % interval (None: not scored), and a remark below."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    color: str = GREY
    remark: str = ""


_stamp: ContextVar[str] = ContextVar("_stamp", default="")


@contextmanager
def stamped(warnings: Sequence[str]) -> Iterator[None]:
    """Write warnings, such as of an incomplete training, at the foot of every figure that is made meanwhile."""
    token = _stamp.set("; ".join(warnings))
    try:
        yield
    finally:
        _stamp.reset(token)


@contextmanager
def slide(path: Path, title: str, subtitle: str, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure of `size` inches with a heading, written to `path` at the end.

    A long subtitle is wrapped, for which the figure grows.
    """
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 11, "text.color": INK, "axes.edgecolor": GRID}):
        width, height = size
        lines = [line for part in subtitle.split("\n") for line in textwrap.wrap(part, int((width - 0.4) / CHARACTER))]
        more = LINE * max(0, len(lines) - 1)
        height += more
        box = (0, 0, 1 - 0.15 / width, 1 - (HEADING + more) / height)
        layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12, wspace=0.05, hspace=0.06, rect=box)
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        figure.text(0.2 / width, 1 - 0.22 / height, title, fontsize=17, fontweight="bold", va="top")
        figure.text(0.2 / width, 1 - 0.60 / height, "\n".join(lines), fontsize=11, color=MUTED, va="top")
        if warning := _stamp.get():
            figure.text(1 - 0.2 / width, 0.04 / height, warning, fontsize=11, color=ORANGE, ha="right", va="bottom")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def quiet(axes: Axes, title: str = "", note: str = "", *, xlabel: str = "", ylabel: str = "") -> None:
    """Light grid behind, no ticks and no box; a bold title with a note below it."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=26 if note else 10)
    axes.annotate(note, (0, 1), xytext=(0, 9), xycoords="axes fraction", textcoords="offset points", color=MUTED)
    axes.set_xlabel(xlabel, color=MUTED)
    axes.set_ylabel(ylabel, color=MUTED)
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=10)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def legend_below(
    axes: Axes, *, num_columns: int = 2, width: int = 28, gap: float = 0.11, handles: Any = None, **style: Any
) -> None:
    """A legend under the axes, where it lies on nothing; entries are wrapped after `width` characters.

    `gap` is its distance from the axes, as a share of their height.
    """
    entries: dict[str, Any] = {} if handles is None else {"handles": handles}
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -gap), "frameon": False}
    found = axes.legend(**entries, ncols=num_columns, **place, **style)
    for text in found.get_texts():
        text.set_text(textwrap.fill(text.get_text(), width))


def unit_square(axes: Axes) -> None:
    """Both axes from 0 to 1, equally long."""
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal", anchor="NW")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])


def dots(axes: Axes, rows: Sequence[Row], *, num_lines: int = 0) -> None:
    """Values with intervals, one a line from above, names at the left and numbers at the right.

    The mean is bold; room is kept for `num_lines`, so that panels with fewer rows line up.
    """
    top = max(num_lines, len(rows)) - 1
    heights = [top - line for line in range(len(rows))]
    for height, row in zip(heights, rows, strict=True):
        is_mean = row.name == MEAN
        if row.value is not None:
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [height] * 2, color=row.color, linewidth=3, alpha=0.45)
            axes.plot(row.value, height, "o", color=row.color, markersize=8 if is_mean else 6.5)
        axes.text(
            1.02,
            height,
            number(row.value) if row.value is not None else "not scored",
            transform=axes.get_yaxis_transform(),
            va="center_baseline",
            fontsize=11,
            fontweight="bold" if is_mean else "normal",
            color=INK if row.value is not None else MUTED,
        )
        if row.remark:
            place: dict[str, Any] = {
                "xycoords": axes.get_yaxis_transform(),
                "xytext": (0, -10),
                "textcoords": "offset points",
            }
            note = axes.annotate(row.remark, (0.01, height), **place, va="center", fontsize=8, color=MUTED)
            note.set_in_layout(False)  # a long one would leave no room for the axes
    axes.set_yticks(list(heights), [label(row.name) for row in rows])
    axes.set_ylim(-0.7, top + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.grid(visible=False)
    axes.tick_params(axis="y", labelsize=11, labelcolor=INK)
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if row.name == MEAN else "normal")


def ranked(
    metric: Mapping[str, object],
    macro_color: str,
    colors: Mapping[str, str] | None = None,
    remarks: Mapping[str, str] | None = None,
) -> list[Row]:
    """The rows of a metric in a report card: the mean, then its classes from best to worst, with what is to be said."""
    per_class: Mapping[str, Score] = metric["per_class"]  # type: ignore[assignment]
    mean: Score = metric["macro"]  # type: ignore[assignment]
    order = sorted(per_class.items(), key=lambda item: -(item[1]["value"] if item[1]["value"] is not None else -1))
    said, shades = remarks or {}, colors or {}

    def row(name: str, score: Score, color: str, key: str) -> Row:
        return Row(name, score["value"], score["low"], score["high"], color, said.get(key, ""))

    rows = [row(name, score, shades.get(name, GREY), name) for name, score in order]
    return [row(MEAN, mean, macro_color, MACRO), *rows]


def words_on(beside: Remarks) -> dict[str, str]:
    """What is written below findings in a figure: why there is no score or no interval, or which images are few."""
    said = {name: beside.words(name) for name in {*beside.remarks, *beside.no_interval}}
    return said | dict(beside.not_scored)
