"""One method minus another, in words, as a figure and on the page of results."""

import json

import pytest

from evax.report.comparison import comparisons_section, describe_comparison, draw_comparison, draw_sides, verdict

SCORE = {"value": -0.02, "low": -0.05, "high": 0.01}


@pytest.fixture
def content():
    return {
        "name": "hog",
        "rival": "scratch",
        "num_runs": [2, 1],
        "difference": {"macro": SCORE, "per_class": {"Mass": SCORE, "Pleural_Thickening": SCORE}, "not_scored": []},
        "delong": {"Mass": {"p": 0.0002, "p_holm": None}},
        "data": "cxr14/sample",
        "protocol": "clean",
        "recipe": "",
        "auroc_macro": [[0.7, 0.74], [0.74]],
        "num_train": 521,
        "num_films": 1214,
        "num_patients": 148,
        "num_draws": 1000,
        "commit": "0123456789ab",
        "command": "python evaluate.py compare=[A,B]",
    }


def test_a_difference_is_told_with_what_its_interval_allows(content):
    text = describe_comparison(content)
    assert text.startswith("test AUROC of hog (mean of 2 runs) minus scratch, 1,214 films of 148 patients")
    assert "Mass                   -0.020  [-0.050, +0.010]  p < 0.001, of all findings not defined" in text
    assert "Pleural Thickening     -0.020" in text
    assert text.endswith("the interval includes 0: no difference is shown\n")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (0.0, 0.1, "no difference"), (None, None, "could be computed")],
)
def test_a_verdict_follows_from_the_interval(low, high, words):
    assert words in verdict({"value": 0.0, "low": low, "high": high})


def test_the_figure_is_drawn(content, tmp_path):
    draw_comparison(content, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("scores", "is_drawn"),
    [
        ({"Mass": [0.7, 0.8], "Edema": [0.6, None], "Hernia": [None, None]}, True),
        ({"Mass": [0.7, 0.8], "Edema": [0.6, 0.9]}, False),
        ({"Mass": [None, None], "Edema": [None, None], "Hernia": [None, None]}, False),
    ],
)
def test_both_methods_are_a_radar_of_three_classes_or_more(content, scores, is_drawn, tmp_path):
    draw_sides(content | {"scores": scores}, tmp_path / "radar.png")
    assert (tmp_path / "radar.png").exists() == is_drawn


def test_the_page_tells_both_numbers_of_training_films_where_they_differ(content, tmp_path):
    (tmp_path / "few").mkdir()
    file = tmp_path / "few" / "hog_scratch.json"
    for rival, words in ((521, "in the mean; 521 training films,"), (51, "521 (hog), 51 (scratch) training films,")):
        file.write_text(json.dumps(content | {"rival_num_train": rival}))
        assert words in comparisons_section(tmp_path)
    file.write_text(json.dumps(content))
    assert "in the mean; 521 training films," in comparisons_section(tmp_path)


def test_the_page_has_a_table_a_group(content, tmp_path):
    assert comparisons_section(tmp_path) == ""
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "hog_scratch.json").write_text(json.dumps(content))
    (tmp_path / "few" / "notes.md").write_text("- A tenth of the patients.\n")
    page = comparisons_section(tmp_path)
    assert "### few: cxr14/sample, protocol clean" in page
    assert "\n\n- A tenth of the patients.\n\n- `python evaluate.py" in page
    row = "| hog | **0.720** (0.700, 0.740) | scratch | **0.740** | −0.020 [−0.050, +0.010] | the interval includes 0"
    assert row in page
