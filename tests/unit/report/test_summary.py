import json

import pytest
from result_content import content

from evax.report.record import Result
from evax.report.summary import summarise

GAIN = {"rival": "random", "auroc_macro": {"value": 0.05, "low": -0.01, "high": 0.09}}


def summary(**changes):
    return summarise(Result.from_json(json.dumps(content("a", 0.7, **changes)), "a.json"))


def test_scores_differences_and_choice_are_told():
    text = summary(comparisons=[GAIN])
    assert "macro                0.700" in text
    assert "macro minus random   +0.050  [-0.010, +0.090]" in text
    assert "chosen by cross-validation" in text


NOTHING = dict.fromkeys(("value", "low", "high"))


@pytest.mark.parametrize(
    ("not_scored", "expected"),
    [
        ({"Mass": "no negative test images"}, "1 of 2 findings; Mass: no negative test images"),
        ({}, "1 of 2 findings; Mass: could not be scored"),
        (
            {"Mass": "no known label", "Nodule": "no known label", "Edema": "class not in the model's outputs"},
            "1 of 4 findings; Mass, Nodule: no known label; Edema: class not in the model's outputs",
        ),
    ],
)
def test_a_finding_without_a_score_is_named_with_its_reason(not_scored, expected):
    aurocs = content("a", 0.7)["auroc"] | {"Mass": NOTHING}
    lines = summary(auroc=aurocs, not_scored=not_scored).splitlines()
    assert lines[1] == expected
    for name, why in not_scored.items():
        assert f"{name:<20} not scored: {why}" in lines


def test_nothing_scored_is_said_of_the_mean_too():
    item = content("a", 0.7, auroc_macro=NOTHING, auroc={"Mass": NOTHING, "Pneumonia": NOTHING})
    text = summarise(Result.from_json(json.dumps(item), "a.json"))
    assert "0 of 2 findings; Mass, Pneumonia: could not be scored" in text
    assert "macro                not scored: no finding could be scored" in text
    assert "undefined" not in text


def test_few_images_and_a_missing_interval_stand_beside_the_number():
    aurocs = content("a", 0.7)["auroc"]
    aurocs["Mass"] = {"value": 0.7, "low": None, "high": None}
    told = {"remarks": {"Pneumonia": "5 positives"}, "no_interval": {"Mass": "1 positive patient"}}
    text = summary(auroc=aurocs, cautions=["temperature scaling raised ECE 0.170 -> 0.196"], **told)
    assert "Mass                 0.700  (no interval: 1 positive patient)" in text
    assert "Pneumonia            0.700  [0.650, 0.750] (5 positives)" in text
    assert text.endswith("temperature scaling raised ECE 0.170 -> 0.196\n")


def test_a_setting_without_rivals_was_not_chosen():
    only = {"features": "pooled", "strength": 0.1, "auroc_macro": None}
    assert "the only setting: pooled, C=0.1" in summary(chosen=only, trials=[only])
