import numpy as np
import pytest

from evax.evaluation.metric import estimate_spread, metric_of


def test_class_that_cannot_be_scored_is_named_and_leaves_the_mean():
    draws = np.column_stack([np.linspace(0.5, 0.7, 101), np.full(101, np.nan), np.linspace(0.7, 0.9, 101)])
    found = metric_of(np.array([0.6, np.nan, 0.8]), draws, ("Mass", "Hernia", "Edema"))
    assert found.not_scored == ("Hernia",)
    assert found.macro.value == pytest.approx(0.7)
    assert (found.macro.low, found.macro.high) == pytest.approx((0.605, 0.795))
    assert found.to_json()["per_class"]["Hernia"] == {"value": None, "low": None, "high": None}


def test_spread_of_an_error_holds_its_value():
    draws = np.linspace(0.05, 0.09, 101)  # all above the value, as resampling adds noise
    assert estimate_spread(0.04, draws) == pytest.approx((0.04, 0.021, 0.059))


def test_error_is_not_below_zero():
    assert estimate_spread(0.01, np.linspace(0, 0.1, 101)).low == 0.0
