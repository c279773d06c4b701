"""All figures of a report card: ROC, precision-recall, calibration, subgroups, confusion, radar."""

import json
from pathlib import Path

from evax.report.canvas import stamped
from evax.report.confusion import draw_confusion
from evax.report.gaps import draw_subgroups
from evax.report.operating import draw_precision_recall, draw_roc
from evax.report.radar import draw_radar
from evax.report.reliability import draw_reliability
from evax.report.wording import Remarks


class CardError(ValueError):
    """A report card that cannot be drawn; one line naming the file."""


def write_card_figures(file: Path, folder: Path) -> list[Path]:
    """Draw what `file`, a report card as json, holds into `folder`; returns the paths written."""
    if not file.is_file():
        raise CardError(f"{file}: no such file; evaluate a classifier first")
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        drawers = {"roc": draw_roc, "precision_recall": draw_precision_recall, "calibration": draw_reliability}
        if card["subgroups"]:
            drawers["subgroups"] = draw_subgroups
        if card["exclusive"] is not None:
            drawers["confusion"] = draw_confusion
        written = [folder / f"{name}.png" for name in drawers]
        with stamped(card.get("incomplete") or ()):
            for name, draw in drawers.items():
                draw(card, folder / f"{name}.png")
            if len(card["findings"]) > 2:
                ours = {name: score["value"] for name, score in card["metrics"]["auroc"]["per_class"].items()}
                if any(value is not None for value in ours.values()):
                    draw_radar(card["findings"], {"AUROC": ours}, folder / "radar.png", beside=Remarks.of(card))
                    written.append(folder / "radar.png")
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CardError(f"{file}: is not a report card ({type(error).__name__}: {error})") from None
    return written
