"""The table and the figures of an explanation, from numbers."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from evax.report.explanation import (
    METRICS,
    draw_faithfulness,
    draw_localisation,
    draw_randomisation,
    localisation_section,
    span,
    table_of,
)
from evax.report.maps import Explained, draw_film, draw_gallery, draw_point


def pooled(value):
    return {"pooled": {"value": value, "low": value, "high": value}}


@pytest.fixture
def result():
    nothing = {name: {"pooled": {"value": None, "low": None, "high": None}} for name in METRICS}
    curve = {"curve": [0.1, 0.9], **pooled(0.5)}
    return {
        "name": "test",
        "split": "test",
        "protocol": "clean",
        "methods": ["grad_cam"],
        "baselines": ["random"],
        "titles": {"grad_cam": "Grad-CAM", "random": "random"},
        "num_boxes": 4,
        "num_films": 3,
        "num_patients": 2,
        "num_checked": 2,
        "mean_area": 0.125,
        "notes": ["a note"],
        "seconds_per_film": {"grad_cam": 0.25},
        "localisation": {"grad_cam": {name: pooled(0.5) for name in METRICS}, "random": nothing},
        "faithfulness": {"grad_cam": {"shares": [0, 1], "insertion": curve, "deletion": curve}},
        "randomisation": {"grad_cam": {"head": 0.9, "embedding": None}},
    }


def test_table_has_methods_then_baselines_and_says_how_thresholds_were_chosen(result):
    lines = table_of(result).splitlines()
    assert lines[2].startswith("| Grad-CAM | 0.500 [0.500, 0.500] |")
    assert lines[2].endswith("| – | 0.250 |")
    assert lines[3] == f"| random (baseline) |{' – |' * (len(METRICS) + 4)}"
    assert "threshold of each patient chosen on the boxes of all others" in lines[6]
    assert "energy of 0.125" in lines[6]
    assert "- pointing game is not scored (random): no boxes" in lines
    assert lines[-1] == "- a note"
    assert "very boxes that are scored" in table_of(result | {"protocol": "official"})


def test_the_page_has_each_explanation_with_its_command(result, tmp_path):
    assert localisation_section(tmp_path) == ""
    told = result | {"data": "cxr14/official", "command": "python explain.py run=RUN", "commit": "0123456789ab"}
    (tmp_path / "test.json").write_text(json.dumps(told))
    page = localisation_section(tmp_path)
    assert f"### cxr14/official, protocol clean\n\n{table_of(result)}- `python explain.py run=RUN`" in page


def test_table_of_films_without_boxes(result):
    alone = result | {"localisation": {}, "faithfulness": {}, "randomisation": {}, "baselines": [], "mean_area": None}
    assert table_of(alone).splitlines()[2] == f"| Grad-CAM |{' – |' * (len(METRICS) + 3)} 0.250 |"


@pytest.mark.parametrize(
    ("values", "expected", "is_noise"),
    [
        ([0.3679, 0.3680], (0.318, 0.418), True),
        ([0.0, 0.0], (0.0, 0.1), True),
        ([1.0, 0.999], (0.9, 1.0), True),
        ([0.1, 0.9], (0.06, 0.94), False),
        ([0.0, 1.0], (0, 1), False),
    ],
)
def test_an_axis_of_probabilities_does_not_enlarge_noise(values, expected, is_noise):
    limits, words = span(values)
    assert limits == pytest.approx(expected, abs=0.06)
    assert limits[1] - limits[0] >= 0.1 - 1e-9
    assert limits[0] <= min(values)
    assert limits[1] >= max(values)
    assert ("no difference is shown" in words) == is_noise


def test_what_boxes_do_not_allow_is_said(result):
    nothing = {"pooled": {"value": None, "low": None, "high": None}}
    lone = result | {"num_patients": 1, "findings": ["Mass"], "not_scored": {"Edema": "no boxes in these images"}}
    lone["localisation"] = {"grad_cam": result["localisation"]["grad_cam"] | {"map": nothing, "miou": nothing}}
    text = table_of(lone)
    assert "- 1 of 2 findings; Edema: no boxes in these images" in text
    assert "- mAP is not scored (Grad-CAM): a threshold needs boxes of a second patient" in text
    assert "of 1 patient;" in text
    assert "[–, –]" not in text


def test_missing_points_of_randomisation_are_explained(result, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: seen.append(figure))
    draw_randomisation(result, tmp_path / "figure.png")
    assert "no point where every map is constant: Grad-CAM" in seen[0].texts[1].get_text()


def test_figures_are_drawn_also_where_a_number_is_missing(result, tmp_path):
    film = Explained(7, "Mass", 0.5, np.zeros((8, 8), np.uint8), ((0.1, 0.1, 0.5, 0.5),), {"Grad-CAM": np.eye(8)})
    draw_localisation(result, tmp_path / "localisation.png")
    draw_faithfulness(result, tmp_path / "faithfulness.png")
    draw_randomisation(result, tmp_path / "randomisation.png")
    draw_film(film, tmp_path / "film.png")
    draw_gallery([film, film], tmp_path / "gallery.png")
    draw_point(film.film, 7, (0.5, 0.5), {"mean": np.eye(8)}, tmp_path / "point.png")
    assert len(list(tmp_path.glob("*.png"))) == 6
