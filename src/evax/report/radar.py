"""A radar of one value per class, of one method or of several."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.projections.polar import PolarAxes

from evax.report.canvas import legend_below, slide
from evax.report.curves import BLUE, GREY, GRID, INK, MUTED, ORANGE
from evax.report.wording import NO_REASON, Remarks, coverage, label

COLORS = (BLUE, ORANGE, GREY, INK)
MAX_SERIES = len(COLORS)
SHORT = 32  # characters: two such names stand side by side below the radar
MARGIN = 0.3  # of a ring, kept free inside the lowest value


class RadarError(ValueError):
    """Values that cannot be drawn as a radar; one line saying why."""


def draw_radar(
    findings: Sequence[str],
    series: Mapping[str, Mapping[str, float | None]],
    path: Path,
    *,
    title: str = "AUROC per finding",
    subtitle: str = "read along a spoke; areas mean nothing",
    beside: Remarks | None = None,
) -> None:
    """One outline per series over the findings; a finding that a series lacks leaves a gap, and is named with why.

    The innermost ring is a multiple of 0.1 below the lowest value. The first series is drawn boldly; at most 4 can be
    told apart.
    """
    if len(findings) < 3:
        raise RadarError(f"a radar needs 3 findings or more, not {len(findings)}")
    if not 1 <= len(series) <= MAX_SERIES:
        raise RadarError(f"a radar shows 1 to {MAX_SERIES} series, not {len(series)}")
    rows = {name: [_value(values.get(finding)) for finding in findings] for name, values in series.items()}
    if np.isnan(list(rows.values())).all():
        raise RadarError("a radar needs a value; every finding of every series is missing")
    inner = np.floor(10 * np.nanmin(list(rows.values())) - MARGIN) / 10
    angles = np.linspace(0, 2 * np.pi, len(findings), endpoint=False)
    told = beside or Remarks()
    gaps = {finding: _lacking(finding, series) for finding in findings}
    gaps = {finding: told.not_scored.get(finding, why) for finding, why in gaps.items() if why}
    if gaps:
        subtitle += f"\n{coverage(len(findings) - len(gaps), gaps)}"
    with slide(path, title, subtitle, (10.5, 9.0)) as figure:
        axes = cast("PolarAxes", figure.add_subplot(projection="polar"))
        for order, (name, values) in enumerate(rows.items()):
            _outline(axes, angles, np.array(values), name, order)
        words = dict.fromkeys(gaps, "not scored") | {
            name: few for name, few in told.remarks.items() if name not in gaps
        }
        names = [label(finding) + f"\n{words.get(finding, '')}".rstrip() for finding in findings]
        _style(axes, angles, names, float(inner))
        if len(series) > 1:
            is_short = max(map(len, series)) <= SHORT
            legend_below(axes, num_columns=2 if is_short else 1, width=2 * SHORT, gap=0.08, fontsize=12)


def _lacking(finding: str, series: Mapping[str, Mapping[str, float | None]]) -> str:
    """Why an outline has a gap at a finding; "" where none has."""
    without = [name for name, values in series.items() if values.get(finding) is None]
    if len(without) == len(series):
        return NO_REASON
    return f"not scored by {', '.join(without)}" if without else ""


def _value(value: float | None) -> float:
    return float("nan") if value is None else value


def _outline(axes: PolarAxes, angles: np.ndarray, values: np.ndarray, name: str, order: int) -> None:
    around, closed = np.append(angles, angles[0]), np.append(values, values[0])
    is_first = order == 0
    axes.plot(
        around,
        closed,
        "o-",
        color=COLORS[order],
        linewidth=3 if is_first else 1.8,
        markersize=6 if is_first else 4,
        label=name,
        zorder=4 if is_first else 3,
    )
    if is_first and not np.isnan(values).any():
        axes.fill(around, closed, color=COLORS[order], alpha=0.1)


def _style(axes: PolarAxes, angles: np.ndarray, names: Sequence[str], inner: float) -> None:
    """Spokes from above, clockwise; rings every 0.1."""
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_rorigin(inner - 0.25 * (1 - inner))
    axes.set_ylim(inner, 1.0)
    rings = np.arange(inner, 1.0001, 0.1)
    axes.set_yticks(rings, [f"{ring:.1f}" for ring in rings], fontsize=10, color=MUTED)
    axes.set_rlabel_position(180 / len(names))
    for text in axes.get_yticklabels():
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    axes.set_xticks(angles, names, fontsize=12, color=INK)
    for angle, text in zip(angles, axes.get_xticklabels(), strict=True):
        side = np.sin(angle)
        text.set_horizontalalignment("left" if side > 0.1 else "right" if side < -0.1 else "center")
    axes.tick_params(axis="x", pad=8)
    axes.grid(color=GRID, linewidth=1)
    axes.spines["polar"].set_color(GRID)
