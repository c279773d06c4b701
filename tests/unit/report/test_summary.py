import json

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


def test_an_undefined_score_is_called_so():
    aurocs = content("a", 0.7)["auroc"] | {"Mass": dict.fromkeys(("value", "low", "high"))}
    assert "Mass                 undefined  [undefined, undefined]" in summary(auroc=aurocs)


def test_a_setting_without_rivals_was_not_chosen():
    only = {"features": "pooled", "strength": 0.1, "auroc_macro": None}
    assert "the only setting: pooled, C=0.1" in summary(chosen=only, trials=[only])
