"""The confusion matrix of classes that exclude each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.colors import LinearSegmentedColormap

from evax.report.canvas import slide
from evax.report.curves import BLUE, INK, MUTED
from evax.report.wording import interval, label, number

SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", BLUE])


def draw_confusion(card: Mapping[str, Any], path: Path) -> None:
    """Films by true class (rows) and called class (columns), shaded by share of the row; sensitivity and PPV beside."""
    names, scores = [label(name) for name in card["findings"]], card["exclusive"]
    cells, num_classes = scores["confusion"], len(names)
    sizes = [max(1, sum(row)) for row in cells]
    side = 1.5 * max(num_classes, 3)
    subtitle = f"accuracy {interval(scores['accuracy'])} · {card['num_films']:,} images"
    with slide(path, "Confusion", subtitle, (side + 3.0, side + 2.4)) as figure:
        axes = figure.subplots()
        shares = [[count / size for count in row] for row, size in zip(cells, sizes, strict=True)]
        axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
        for true, row in enumerate(cells):
            for called, count in enumerate(row):
                color = "white" if shares[true][called] > 0.55 else INK
                axes.text(called, true - 0.06, f"{count:,}", ha="center", va="center", fontsize=16, color=color)
                share = f"{100 * shares[true][called]:.1f} %"
                axes.text(called, true + 0.16, share, ha="center", va="center", fontsize=11, color=color)
        called = scores["called"]
        called_names = [_with(name, "PPV", called["ppv"], finding, "never called") for name, finding in _pairs(card)]
        true_names = [
            _with(name, "sens.", called["sensitivity"], finding, "no images") for name, finding in _pairs(card)
        ]
        axes.set_xticks(range(num_classes), called_names)
        axes.set_yticks(range(num_classes), true_names)
        axes.set_xlabel("called", color=MUTED, fontsize=12)
        axes.set_ylabel("true", color=MUTED, fontsize=12)
        axes.tick_params(length=0, labelsize=12, labelcolor=INK)
        axes.spines[:].set_visible(False)
        for edge in range(1, num_classes):
            axes.axhline(edge - 0.5, color="white", linewidth=3)
            axes.axvline(edge - 0.5, color="white", linewidth=3)


def _pairs(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(label(finding), finding) for finding in card["findings"]]


def _with(name: str, word: str, metric: Mapping[str, Any], finding: str, otherwise: str) -> str:
    """A class with its rate, or why it has none."""
    value = metric["per_class"][finding]["value"]
    return f"{name}\n{otherwise if value is None else f'{word} {number(value)}'}"
