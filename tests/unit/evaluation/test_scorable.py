"""What a score rests on, and what must be said where that is little or nothing."""

import json

import numpy as np
import pytest

from evax.evaluation.bootstrap import Estimate, estimate
from evax.evaluation.scorable import (
    FEW,
    MACRO,
    NO_DRAWS,
    NO_OUTPUT,
    NO_WHOLE_DRAWS,
    Support,
    lone_patients,
    missing_intervals,
    reasons,
    remarks,
    supports,
    too_few,
)
from evax.evaluation.study import LabelledFilms

NAN = float("nan")
NONE = Estimate(NAN, NAN, NAN)
UNBOUNDED = Estimate(0.8, NAN, NAN)
WHOLE = Estimate(0.8, 0.7, 0.9)


@pytest.mark.parametrize(
    ("support", "split", "expected"),
    [
        (Support(20, 20, 9, 9), "test", ""),
        (Support(0, 20, 0, 9), "test", "no positive test images"),
        (Support(20, 0, 9, 0), "test", "no negative test images"),
        (Support(20, 0, 9, 0), "validation", "no negative validation images"),
        (Support(0, 0, 0, 0), "test", "no known label"),
        (Support(20, 20, 9, 9, has_output=False), "test", "class not in the model's outputs"),
        (Support(0, 0, 0, 0, has_output=False), "test", "class not in the model's outputs"),
    ],
)
def test_a_finding_without_a_score_has_one_reason(support, split, expected):
    assert support.reason(split) == expected


@pytest.mark.parametrize(
    ("support", "few", "lone", "fitted"),
    [
        (Support(FEW, FEW, 2, 2), "", "", ""),
        (Support(FEW - 1, 99, 5, 50), "9 positives", "", "threshold fitted on 9 positives"),
        (Support(1, 99, 1, 50), "1 positive", "1 positive patient", "threshold fitted on 1 positive"),
        (Support(20, 3, 20, 3), "3 negatives", "", "threshold fitted on 3 negatives"),
        (Support(12, 40, 1, 40), "", "1 positive patient", ""),
        (Support(2, 2, 1, 1), "2 positives, 2 negatives", "1 positive patient and 1 negative patient",
         "threshold fitted on 2 positives and 2 negatives"),
    ],
)  # fmt: skip
def test_few_images_are_said(support, few, lone, fitted):
    assert (support.remark(), support.lone(), support.fitted("threshold")) == (few, lone, fitted)


def test_supports_count_images_and_patients_of_known_labels():
    targets = np.array([[1, 1, 0, 0.0], [1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]])
    known = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0]], bool)
    films = LabelledFilms(np.arange(4), np.array(["a", "a", "b", "c"]), targets, known)
    scores = np.zeros((4, 4))
    scores[:, 1] = NAN
    found = supports(films, ["A", "B", "C", "D"], scores)
    assert found["A"] == (2, 2, 1, 2, True)
    assert found["B"] == (2, 1, 2, 1, False)
    assert reasons(found) == {"B": NO_OUTPUT, "C": "no positive test images", "D": "no known label"}
    assert remarks(found) == {"A": "2 positives, 2 negatives"}
    assert lone_patients(found) == {"A": "1 positive patient"}


def test_findings_below_the_least_number_are_named_with_theirs():
    train, test = np.ones((30, 4)), np.ones((30, 4))
    train[1:, 1], test[:, 2:], train[:, 3] = 0, 0, 0
    train[:5, 3] = 1
    found = too_few(["A", "B", "C", "D"], [train, test], ("train", "test"), 10)
    assert found == {
        "B": "1 positive train image, fewer than 10",
        "C": "no positive test images",
        "D": "5 positive train images and no positive test images, fewer than 10",
    }


@pytest.mark.parametrize(
    ("scores", "lone", "expected"),
    [
        ({"A": WHOLE, MACRO: WHOLE}, {}, {}),
        ({"A": NONE, MACRO: NONE}, {"A": "1 positive patient"}, {}),
        ({"A": UNBOUNDED, "B": WHOLE, MACRO: WHOLE}, {"A": "1 patient"}, {"A": "1 patient"}),
        ({"A": UNBOUNDED, MACRO: UNBOUNDED}, {"A": "1 patient"}, {"A": "1 patient", MACRO: "1 patient"}),
        ({"A": UNBOUNDED, MACRO: UNBOUNDED}, {}, {"A": NO_DRAWS, MACRO: NO_WHOLE_DRAWS}),
        ({"A": WHOLE, "B": WHOLE, MACRO: UNBOUNDED}, {}, {MACRO: NO_WHOLE_DRAWS}),
    ],
)
def test_a_missing_interval_has_a_reason(scores, lone, expected):
    assert missing_intervals(scores, lone) == expected
    json.dumps(expected)


@pytest.mark.parametrize(("defined", "has_interval"), [(100, True), (50, True), (49, False), (0, False)])
def test_an_interval_needs_half_of_the_draws(defined, has_interval):
    draws = np.where(np.arange(100) < defined, 0.5, NAN)
    assert np.isnan(estimate(0.5, draws).low) != has_interval
