"""What must be said beside a report card, on cards that were made so that it must."""

import numpy as np
import pytest

from evax.evaluation.bootstrap import Estimate
from evax.evaluation.cautions import worse_calibration
from evax.evaluation.metric import Metric
from evax.evaluation.report_card import CardOptions, Predicted, report_card
from evax.evaluation.study import LabelledFilms

FINDINGS = ("Mass", "Pneumonia", "Hernia")


def part(first, positives, *, scale=1.0, count=120):
    """Images of which the first ones show a finding; two a patient."""
    targets = (np.arange(count)[:, None] < positives).astype(np.int8)
    noise = np.random.default_rng(first).standard_normal(targets.shape)
    ids = first + np.arange(count)
    return Predicted(LabelledFilms(ids, ids // 2, targets), (scale * (targets - 0.5 + noise)).astype(np.float32))


def card(test, validation=None, **options):
    return report_card(FINDINGS, test, validation, options=CardOptions(num_draws=40, **options))


def test_a_card_names_what_it_cannot_score_and_what_it_scores_on_few():
    found = card(part(0, [40, 120, 5]), part(1000, [40, 40, 3]))
    assert found.not_scored == {"Pneumonia": "no negative test images"}
    assert found.remarks == {"Hernia": "5 positives"}
    assert found.no_interval == {}
    assert found.threshold_remarks == {"Hernia": "threshold fitted on 3 positives"}
    content = found.to_json()
    assert content["not_scored"] == found.not_scored
    assert content["threshold_remarks"] == found.threshold_remarks


@pytest.mark.parametrize("positives", [1, 2])
def test_images_of_one_patient_have_a_score_and_no_interval(positives):
    found = card(part(0, [40, 60, positives]))
    auroc = found.metrics["auroc"].per_class["Hernia"]
    assert 0 <= auroc.value <= 1
    assert np.isnan([auroc.low, auroc.high]).all()
    assert found.no_interval["Hernia"] == "1 positive patient"
    assert not np.isnan(found.metrics["auroc"].per_class["Mass"].low)
    assert not np.isnan(found.metrics["brier"].per_class["Hernia"].low)  # rests on all images


def test_one_patient_has_no_interval_at_all():
    test = part(0, [40, 60, 20])
    alone = Predicted(LabelledFilms(test.films.image_ids, np.zeros(120), test.films.targets), test.logits)
    found = card(alone)
    assert all(np.isnan(metric.macro.low) for metric in found.metrics.values())
    assert found.no_interval["macro"] == "1 positive patient and 1 negative patient"


def test_a_threshold_that_nothing_chose_is_said():
    found = card(part(0, [40, 60, 30]), part(1000, [40, 120, 0]))
    assert found.threshold_remarks == {
        "Pneumonia": "no threshold: no negative validation images",
        "Hernia": "no threshold: no positive validation images",
    }
    assert np.isnan(found.thresholds["Hernia"])


def test_a_temperature_of_few_positives_is_said():
    found = card(part(0, [40, 60, 30]), part(1000, [3, 2, 1]))
    assert "temperature fitted on 6 positives" in found.cautions


def test_a_temperature_that_nothing_chose_is_said():
    found = card(part(0, [40, 60, 30]), part(1000, [0, 0, 0]))
    assert "no temperature: no positive validation images" in found.cautions


@pytest.mark.parametrize(
    ("test_scale", "is_worse"), [(1.0, True), (12.0, False)], ids=["honest logits were flattened", "they needed it"]
)
def test_calibration_that_got_worse_is_said(test_scale, is_worse):
    found = card(part(0, [40, 60, 30], scale=test_scale), part(1000, [40, 60, 30], scale=12.0))
    said = [each for each in found.cautions if each.startswith("temperature scaling raised ECE 0.")]
    assert bool(said) == is_worse
    if is_worse:
        before, after = (found.metrics[name].macro.value for name in ("ece", "ece_calibrated"))
        assert said == [
            f"temperature scaling raised ECE {before:.3f} -> {after:.3f}; use the uncalibrated probabilities"
        ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(0.17, 0.196, "ECE 0.170 -> 0.196;"), (0.17, 0.1703, "ECE 0.1700 -> 0.1703;"), (0.17, 0.17, ""), (0.2, 0.1, "")],
)
def test_a_rise_is_told_to_the_digit_that_shows_it(before, after, expected):
    metrics = {
        name: Metric({"Mass": Estimate(value, 0, 1)}, Estimate(value, 0, 1), ())
        for name, value in (("ece", before), ("ece_calibrated", after))
    }
    said = worse_calibration(metrics, None)
    assert bool(said) == bool(expected)
    assert all(expected in each for each in said)


def test_exclusive_classes_have_a_caution_of_the_called_class():
    generator = np.random.default_rng(0)
    shown = generator.integers(0, 3, 200)
    logits = generator.standard_normal((200, 3)) + 1.5 * np.eye(3)[shown]
    test, validation = (
        Predicted(LabelledFilms(first + np.arange(200), first + np.arange(200), np.eye(3)[shown]), scale * logits)
        for first, scale in ((0, 1.0), (1000, 12.0))
    )
    found = card(test, validation, exclusive=True)
    assert any(each.startswith("temperature scaling raised ECE of the called class") for each in found.cautions)
