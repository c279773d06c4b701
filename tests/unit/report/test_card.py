import json

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evax.evaluation.report_card import CardOptions, Predicted, report_card
from evax.evaluation.study import LabelledFilms
from evax.evaluation.subgroups import by_sex
from evax.report.canvas import Row, ranked
from evax.report.card import CardError, write_card_figures
from evax.report.gaps import group_rows
from evax.report.radar import RadarError, draw_radar
from evax.report.reliability import draw_reliability
from evax.report.wording import Remarks, number

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


NOTHING = np.zeros((40, 3), np.int8)
ONE_CLASS = np.stack([np.arange(40) < 20, NOTHING[:, 0], NOTHING[:, 0] + 1], axis=1).astype(np.int8)


@pytest.mark.parametrize(
    ("targets", "settings", "words", "has_radar"),
    [
        (NOTHING, {}, "0 of 3 findings; Mass, Edema, Nodule: no positive test images", False),
        (NOTHING, {"is_known": NOTHING > 0}, "0 of 3 findings; Mass, Edema, Nodule: no known label", False),
        (ONE_CLASS, {}, "1 of 3 findings; Edema: no positive test images; Nodule: no negative test images", True),
        (ONE_CLASS, {"patients": NOTHING[:, 0]}, "1 of 3 findings; Edema: no positive test images", True),
    ],
    ids=["nothing positive", "nothing known", "one finding", "one patient"],
)
def test_cards_that_can_score_little_are_drawn_and_say_so(targets, settings, words, has_radar, tmp_path, monkeypatch):
    ids, known = np.arange(40), settings.get("is_known")
    films = LabelledFilms(ids, settings.get("patients", ids), targets, known)
    logits = np.random.default_rng(0).standard_normal((40, 3))
    validation = Predicted(LabelledFilms(ids + 100, ids + 100, targets, known), logits)
    sexes = {"sex": by_sex(["M", "F"] * 20)}
    card = report_card(
        ("Mass", "Edema", "Nodule"), Predicted(films, logits), validation, sexes, CardOptions(num_draws=5)
    )
    (tmp_path / "card.json").write_text(json.dumps(card.to_json(), allow_nan=False))
    seen = {}
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **kwargs: seen.setdefault(path.stem, figure))
    write_card_figures(tmp_path / "card.json", tmp_path)
    assert ("radar" in seen) == has_radar
    for name in ("roc", "precision_recall"):
        heading = " ".join(" ".join(text.get_text() for text in seen[name].texts).split())
        assert words in heading, name
    for figure in seen.values():
        told = [text.get_text() for axes in figure.axes for text in (*axes.texts, *figure.texts)]
        assert not [each for each in told if "undefined" in each or "nan" in each or "–, –" in each]


def test_calibration_that_got_worse_is_said_in_its_figure(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: seen.append(figure))
    card = card_json() | {"cautions": ["temperature scaling raised ECE 0.170 -> 0.196; use the uncalibrated ones"]}
    card["metrics"]["ece_calibrated"]["per_class"]["Mass"]["value"] = 0.9
    draw_reliability(card, tmp_path / "figure.png")
    heading = " ".join(" ".join(text.get_text() for text in seen[0].texts).split())
    assert "temperature scaling raised ECE 0.170 → 0.196; use the uncalibrated ones" in heading
    assert any("raised from 0." in text.get_text() for text in seen[0].axes[1].texts)


def test_a_gap_of_a_radar_is_explained(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: seen.append(figure))
    series = {"a": {"x": 0.7, "y": 0.8, "z": None, "w": 0.6}, "b": {"x": 0.7, "y": None, "z": None, "w": 0.6}}
    draw_radar(
        "xyzw", series, tmp_path / "figure.png", beside=Remarks({"z": "no positive test images"}, {"w": "3 positives"})
    )
    assert "2 of 4 findings; y: not scored by b; z: no positive test images" in seen[0].texts[1].get_text()
    names = [text.get_text() for text in seen[0].axes[0].get_xticklabels()]
    assert names == ["x", "y\nnot scored", "z\nnot scored", "w\n3 positives"]


@pytest.mark.parametrize("length", [30, 120])
def test_long_names_leave_room_for_the_figure(length, tmp_path, recwarn):
    names = ["x" * length, "-".join("y" * length)]
    series = {name: {"Mass": 0.7, "Edema": 0.8, "Hernia": None} for name in names}
    draw_radar(("Mass", "Edema", "Hernia"), series, tmp_path / "radar.png")
    assert not recwarn.list


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
