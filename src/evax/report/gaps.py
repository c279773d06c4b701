"""AUROC by subgroup: every group's mean with its interval, and the gap between best and worst."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evax.report.canvas import Row, dots, quiet, slide
from evax.report.curves import BLUE, GREY, ORANGE
from evax.report.wording import MACRO, coverage, interval, label


def draw_subgroups(card: Mapping[str, Any], path: Path) -> None:
    """A panel per attribute with the gap and its interval below the title; the best group blue, the worst orange."""
    attributes = card["subgroups"]
    most = max(len(each["groups"]) for each in attributes)
    subtitle = "macro AUROC, 95 % interval over patients; the gap is best minus worst, on the same resamples"
    for each in attributes:
        if each["left_out"]:
            words = coverage(len(each["macro_over"]), each["left_out"])
            subtitle += f"\n{label(each['attribute']).capitalize()}: {words}"
    with slide(path, "Subgroup performance", subtitle, (4.6 * len(attributes) + 0.6, 0.5 * most + 2.6)) as figure:
        panels = figure.subplots(1, len(attributes), squeeze=False, sharex=True)[0]
        for axes, attribute in zip(panels, attributes, strict=True):
            gap = attribute["gap_macro"]
            words = f"gap {interval(gap['difference'])}" if gap["best"] else "no two groups can be compared"
            quiet(axes, label(attribute["attribute"]).capitalize(), words)
            dots(axes, group_rows(attribute), num_lines=most)


def group_rows(attribute: Mapping[str, Any]) -> list[Row]:
    """The groups in the order of the card, with how many images they hold, and why one has no mean."""
    gap = attribute["gap_macro"]
    colors = {gap["best"]: BLUE, gap["worst"]: ORANGE}
    return [
        Row(
            f"{name}  ({group['num_films']:,})",
            **group["auroc"]["macro"],
            color=colors.get(name, GREY),
            remark=group["reasons"].get(MACRO, ""),
        )
        for name, group in attribute["groups"].items()
    ]
