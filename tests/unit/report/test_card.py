import json

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from evax.evaluation.report_card import CardOptions, Predicted, report_card
from evax.evaluation.study import LabelledFilms
from evax.evaluation.subgroups import by_sex
from evax.report.canvas import Row, number, ranked
from evax.report.card import CardError, write_card_figures
from evax.report.gaps import group_rows
from evax.report.radar import RadarError, draw_radar

FINDINGS = ("Mass", "Pleural_Thickening", "Hernia", "Edema")
FIGURES = ["roc.png", "precision_recall.png", "calibration.png", "subgroups.png", "radar.png"]


def card_json(*, exclusive=False, validation=True, sexes=("M", "F")):
    """A report card of 120 films of which none shows a hernia; classes that exclude each other are the first three."""
    generator = np.random.default_rng(0)
    findings = FINDINGS[:3] if exclusive else FINDINGS
    targets = (generator.random((120, 4)) < [0.4, 0.3, 0, 0.5]).astype(np.int8)
    if exclusive:
        targets = np.eye(3, dtype=np.int8)[generator.integers(0, 3, 120)]
    logits = 2 * targets + generator.standard_normal(targets.shape) - 1
    tables = [
        Predicted(LabelledFilms(np.arange(120) + first, np.arange(120) // 2 + first, targets), logits)
        for first in (0, 1000)
    ]
    attributes = {"sex": by_sex([sexes[film % 2] for film in range(120)])}
    options = CardOptions(num_draws=10, exclusive=exclusive)
    return report_card(findings, tables[0], tables[1] if validation else None, attributes, options).to_json()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "report_card.json"
    path.write_text(json.dumps(card_json(), allow_nan=False))
    return path


def is_blank(path):
    with Image.open(path) as image:
        return len(np.unique(np.asarray(image.convert("L")))) < 20


def test_every_figure_is_written_and_not_blank(file, tmp_path):
    written = write_card_figures(file, tmp_path / "figures")
    assert [path.name for path in written] == FIGURES
    assert not [path.name for path in written if is_blank(path)]


def test_figures_are_the_same_twice_and_leave_no_state(file, tmp_path):
    before = dict(mpl.rcParams)
    first = [path.read_bytes() for path in write_card_figures(file, tmp_path / "figures")]
    assert first == [path.read_bytes() for path in write_card_figures(file, tmp_path / "figures")]
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("settings", [{"exclusive": True}, {"validation": False}, {"sexes": ("M", "M")}])
def test_other_cards_are_drawn_too(tmp_path, settings):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(card_json(**settings), allow_nan=False))
    names = [each.name for each in write_card_figures(path, tmp_path)]
    assert ("confusion.png" in names) == settings.get("exclusive", False)


def test_rows_fall_from_the_mean_and_the_best():
    rows = ranked(card_json()["metrics"]["auroc"], "#000000")
    assert rows[0].name == "macro mean"
    values = [row.value for row in rows[1:-1]]
    assert values == sorted(values, reverse=True)
    assert rows[-1] == Row("Hernia", None, None, None)


def test_groups_tell_how_many_films_they_hold():
    rows = group_rows(card_json()["subgroups"][0])
    assert [row.name for row in rows] == ["F  (60)", "M  (60)"]
    assert rows[0].color != rows[1].color


def test_missing_numbers_are_dashes():
    assert (number(None), number(-0.1234)) == ("–", "−0.123")


@pytest.mark.parametrize(
    ("text", "message"), [("{}", "KeyError: 'subgroups'"), ("[", "JSONDecodeError"), ("3", "TypeError")]
)
def test_unusable_card_names_the_file(tmp_path, text, message):
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(CardError, match=rf"card\.json: is not a report card \({message}"):
        write_card_figures(path, tmp_path)


def test_missing_card_names_the_file(tmp_path):
    with pytest.raises(CardError, match=r"none\.json: no such file"):
        write_card_figures(tmp_path / "none.json", tmp_path)


@pytest.mark.parametrize(
    ("findings", "series", "message"),
    [
        (("a", "b"), {"ours": {}}, "3 findings or more, not 2"),
        (("a", "b", "c"), {}, "1 to 4 series, not 0"),
        (("a", "b", "c"), {"ours": {"a": None}}, "needs a value"),
    ],
)
def test_radar_of_nothing_is_refused(tmp_path, findings, series, message):
    with pytest.raises(RadarError, match=message):
        draw_radar(findings, series, tmp_path / "radar.png")
