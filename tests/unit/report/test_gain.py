"""The verdict of a paired comparison."""

import json

import pytest
from result_content import content

from evax.report.gain import describe_gain
from evax.report.record import ResultError


@pytest.mark.parametrize(("low", "is_above"), [(0.01, True), (-0.01, False), (0.0, False)])
def test_only_an_interval_above_zero_is_a_gain(low, is_above, tmp_path):
    gain = {"rival": "random", "auroc_macro": {"value": 0.05, "low": low, "high": 0.09}}
    (tmp_path / "results.json").write_text(json.dumps(content("a", 0.7, comparisons=[gain])))
    text, verdict = describe_gain(tmp_path)
    assert verdict is is_above
    assert "a minus random: +0.050" in text


def test_a_gain_that_could_not_be_computed_is_none(tmp_path):
    nothing = dict.fromkeys(("value", "low", "high"))
    aurocs = {"auroc": {"Mass": nothing, "Pneumonia": nothing}, "auroc_macro": nothing}
    gain = {"rival": "random", "auroc_macro": nothing}
    told = {"Mass": "no positive test images", "Pneumonia": "no positive test images"}
    item = content("a", 0.7, comparisons=[gain], **aurocs, not_scored=told)
    (tmp_path / "results.json").write_text(json.dumps(item))
    text, verdict = describe_gain(tmp_path)
    assert not verdict
    assert text.splitlines() == [
        "a minus random: –, no finding could be scored",
        "0 of 2 findings; Mass, Pneumonia: no positive test images",
    ]


def test_a_gain_without_an_interval_is_not_shown(tmp_path):
    gain = {"rival": "random", "auroc_macro": {"value": 0.05, "low": None, "high": None}}
    (tmp_path / "results.json").write_text(json.dumps(content("a", 0.7, comparisons=[gain])))
    text, verdict = describe_gain(tmp_path)
    assert (text, verdict) == (
        "a minus random: +0.050 (no interval), not shown to be better without an interval",
        False,
    )


def test_nothing_to_compare_is_said(tmp_path):
    with pytest.raises(ResultError, match=r"against=\[...\]"):
        describe_gain(tmp_path)
