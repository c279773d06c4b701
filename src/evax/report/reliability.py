"""Whether probabilities mean what they say: the reliability diagram before and after temperature scaling."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from evax.report.canvas import MEAN, Row, dots, legend_below, quiet, slide, unit_square
from evax.report.curves import BLUE, GREY, INK, MUTED, ORANGE
from evax.report.operating import SIZE
from evax.report.wording import Remarks, number

SMALLEST = 1e-3  # shown on logarithmic axes
RARE = 0.15  # prevalence below which most probabilities are small, and linear axes show one corner


def draw_reliability(card: Mapping[str, Any], path: Path) -> None:
    """Share of positives over mean probability, bins of equal mass over all film-class pairs; errors per class."""
    metrics = card["metrics"]
    after = metrics.get("ece_calibrated")
    if after is not None and after["macro"]["value"] is None:  # nothing chose a temperature; the cautions say so
        after = None
    subtitle = f"macro ECE {number(metrics['ece']['macro']['value'])}"
    if after:
        subtitle += f", after temperature scaling on validation images {number(after['macro']['value'])}"
    whole = Remarks(dict.fromkeys(metrics["ece"]["not_scored"], "no known label") | not_output(card))
    subtitle = "\n".join([subtitle, *card["cautions"], whole.coverage(metrics["ece"]["per_class"])]).replace("->", "→")
    with slide(path, "Calibration", subtitle, SIZE) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_bins(left, card["reliability"])
        quiet(right, "Expected calibration error", "○ as trained   ● temperature-scaled" if after else "as trained")
        _draw_errors(right, metrics["ece"], after, card["remarks"])


def not_output(card: Mapping[str, Any]) -> dict[str, str]:
    """The findings that nothing can be said of: a class without a known label, or that the model lacks."""
    missing = card["metrics"]["ece"]["not_scored"]
    return {name: why for name, why in card["not_scored"].items() if name in missing}


def _draw_bins(axes: Axes, reliability: Mapping[str, Any]) -> None:
    """Logarithmic axes where positives are rare; a bin below what they show stands on their edge."""
    bins = reliability["before"]
    share = sum(each["num_films"] * each["frequency"] for each in bins) / max(
        1, sum(each["num_films"] for each in bins)
    )
    low = SMALLEST if share < RARE else 0.0
    axes.plot([low, 1], [low, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), label="perfect")
    for name, color, words in (("before", GREY, "as trained"), ("after", BLUE, "temperature-scaled")):
        if reliability[name]:
            points = [(max(low, each["probability"]), max(low, each["frequency"])) for each in reliability[name]]
            axes.plot(*zip(*points, strict=True), "o-", color=color, lw=2.2, ms=7, label=words, clip_on=False)
    quiet(
        axes,
        "All findings together",
        "bins of equally many images",
        xlabel="mean probability of the bin",
        ylabel="share that is positive",
    )
    unit_square(axes)
    if low:
        ticks, names = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1], ["≤0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1"]
        axes.set(xscale="log", yscale="log", xlim=(low / 1.2, 1.2), ylim=(low / 1.2, 1.2))
        axes.set_xticks(ticks, names)
        axes.set_yticks(ticks, names)
        axes.minorticks_off()
    legend_below(axes, num_columns=3, fontsize=11)


def _draw_errors(
    axes: Axes, before: Mapping[str, Any], after: Mapping[str, Any] | None, remarks: Mapping[str, str]
) -> None:
    last = after or before
    order = sorted(last["per_class"].items(), key=lambda item: -(item[1]["value"] or 0))
    rows = [Row(MEAN, **last["macro"], color=BLUE)]
    for name, score in order:
        was = before["per_class"][name]["value"]
        raised = f"raised from {number(was)}" if after and was is not None and (score["value"] or 0) > was else ""
        words = "; ".join(filter(None, (remarks.get(name, ""), raised)))
        rows.append(Row(name, **score, color=ORANGE if raised else INK, remark=words))
    dots(axes, rows)
    if after:
        for height, row in enumerate(reversed(rows)):
            score = before["macro"] if row.name == MEAN else before["per_class"][row.name]
            if score["value"] is not None:
                axes.plot(score["value"], height, "o", color=GREY, markerfacecolor="white", markersize=7, zorder=1.5)
    axes.set_xlim(left=0)
