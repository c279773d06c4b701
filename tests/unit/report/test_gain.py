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


def test_nothing_to_compare_is_said(tmp_path):
    with pytest.raises(ResultError, match=r"against=\[...\]"):
        describe_gain(tmp_path)
