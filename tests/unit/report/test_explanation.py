"""The table and the figures of an explanation, from numbers."""

import json

import numpy as np
import pytest

from evax.report.explanation import (
    METRICS,
    draw_faithfulness,
    draw_localisation,
    draw_randomisation,
    localisation_section,
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


def test_figures_are_drawn_also_where_a_number_is_missing(result, tmp_path):
    film = Explained(7, "Mass", 0.5, np.zeros((8, 8), np.uint8), ((0.1, 0.1, 0.5, 0.5),), {"Grad-CAM": np.eye(8)})
    draw_localisation(result, tmp_path / "localisation.png")
    draw_faithfulness(result, tmp_path / "faithfulness.png")
    draw_randomisation(result, tmp_path / "randomisation.png")
    draw_film(film, tmp_path / "film.png")
    draw_gallery([film, film], tmp_path / "gallery.png")
    draw_point(film.film, 7, (0.5, 0.5), {"mean": np.eye(8)}, tmp_path / "point.png")
    assert len(list(tmp_path.glob("*.png"))) == 6
