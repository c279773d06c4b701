"""The area under every drawn curve is the number beside it, whatever the scores look like."""

from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, roc_auc_score

from evax.evaluation.report_card import CardOptions, Predicted, report_card
from evax.evaluation.study import LabelledFilms
from evax.report.operating import draw_precision_recall, draw_roc

FINDINGS = ("Mass", "Pleural_Thickening", "Nodule", "Edema", "Hernia", "Pneumonia")
FILMS = 90


def logits_of(kind):
    """Scores of six findings: spread, tied in some way, or worse than chance."""
    generator = np.random.default_rng(3)
    free = generator.standard_normal((FILMS, 6))
    return {
        "spread": free,
        "many ties": np.round(free),
        "3 values": np.sign(np.round(free)),
        "all tied": np.zeros((FILMS, 6)),
        "a tie at the top": np.minimum(free, -0.5),
        "a tie at the bottom": np.maximum(free, 0.5),
        "reversed": -5 * np.eye(6)[generator.integers(0, 6, FILMS)],
        "nearly equal": 1 + 1e-12 * np.round(free),
        "huge": 1e30 * np.round(free),
    }[kind]


def labelled(first=0):
    """One positive of the fourth finding, one negative of the fifth, and no negative of the last; two an owner."""
    generator = np.random.default_rng(1 + first)
    targets = (generator.random((FILMS, 6)) < [0.4, 0.1, 0.5, 0, 1, 1]).astype(np.int8)
    targets[7, 3], targets[8, 4] = 1, 0
    is_known = generator.random((FILMS, 6)) < 0.9
    is_known[7, 3] = is_known[8, 4] = True
    ids = first + np.arange(FILMS)
    return LabelledFilms(ids, ids // 2, targets, is_known)


@cache
def card_of(kind):
    films = labelled()
    return report_card(FINDINGS, Predicted(films, logits_of(kind)), options=CardOptions(num_draws=5)).to_json()


def area(line):
    """The area under a line as it is drawn."""
    x, y = (np.asarray(each, float) for each in line.get_data(orig=False))
    steps = {"default": (y[1:] + y[:-1]) / 2, "steps-pre": y[1:], "steps-post": y[:-1]}
    assert (np.diff(x) >= 0).all()
    return float((np.diff(x) * steps[line.get_drawstyle()]).sum())


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a figure and returns it, unwritten."""
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: seen.append(figure))

    def draw(drawer, card):
        drawer(card, tmp_path / "figure.png")
        return seen[-1]

    return draw


KINDS = ("spread", "many ties", "3 values", "all tied", "a tie at the top", "a tie at the bottom", "reversed",
         "nearly equal", "huge")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("drawer", "metric", "reference"),
    [(draw_roc, "auroc", roc_auc_score), (draw_precision_recall, "auprc", average_precision_score)],
)
def test_drawn_areas_are_the_stated_numbers(kind, drawer, metric, reference, drawn):
    card = card_of(kind)
    figure = drawn(drawer, card)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    scores = card["metrics"][metric]
    films = labelled()
    for column, finding in enumerate(FINDINGS[:-1]):
        known = films.is_known[:, column]
        expected = reference(films.targets[known, column], logits_of(kind)[known, column])
        assert area(lines[finding]) == pytest.approx(scores["per_class"][finding]["value"], abs=1e-9)
        assert area(lines[finding]) == pytest.approx(expected, abs=1e-9)
    assert area(lines["macro"]) == pytest.approx(scores["macro"]["value"], abs=1e-9)
    heading = "\n".join(text.get_text() for text in figure.texts)
    assert f"macro {metric.upper()} {area(lines['macro']):.3f} " in heading
    shown = {text.get_text().replace("−", "-") for text in figure.axes[1].texts}
    assert {f"{area(lines[name]):.3f}" for name in FINDINGS[:-1]} <= shown


def test_a_finding_that_cannot_be_scored_is_named_with_its_reason(drawn):
    for drawer in (draw_roc, draw_precision_recall):
        figure = drawn(drawer, card_of("spread"))
        heading = " ".join(" ".join(text.get_text() for text in figure.texts).split())
        assert "5 of 6 findings; Pneumonia: no negative test images" in heading
        below = [text.get_text() for text in figure.axes[1].texts]
        assert "1 positive; no interval: 1 positive patient" in below
        assert "1 negative; no interval: 1 negative patient" in below


def test_a_card_without_a_scored_finding_is_drawn(drawn):
    films = labelled()
    nothing = LabelledFilms(films.image_ids, films.patient_ids, 0 * films.targets)
    card = report_card(FINDINGS, Predicted(nothing, logits_of("spread")), options=CardOptions(num_draws=3)).to_json()
    figure = drawn(draw_roc, card)
    assert [line.get_label() for line in figure.axes[0].get_lines()] == ["chance"]
    assert "0 of 6 findings" in " ".join(text.get_text() for text in figure.texts)


def test_legends_lie_below_the_curves(drawn):
    for drawer in (draw_roc, draw_precision_recall):
        figure = drawn(drawer, card_of("3 values"))
        figure.canvas.draw()
        axes = figure.axes[0]
        legend = axes.get_legend().get_window_extent()
        assert legend.y1 <= axes.get_window_extent().y0
        assert legend.y0 >= 0
