import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import accuracy_score, f1_score

from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.decisions import best_f1_threshold
from evax.evaluation.report_card import CALIBRATED, DECIDED, RANKED, CardOptions, Predicted, report_card
from evax.evaluation.study import LabelledFilms, score_with_intervals
from evax.evaluation.subgroups import by_sex

FINDINGS = ("Mass", "Edema", "Hernia")
OPTIONS = CardOptions(num_draws=60, seed=3)


def predicted(count, first, seed):
    """Films of two a patient; no film shows a hernia, and logits are too large."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((count, 3)) < [0.4, 0.3, 0]).astype(np.int8)
    logits = (6 * (targets - 0.5) + 6 * generator.standard_normal((count, 3))).astype(np.float32)
    ids = np.arange(first, first + count)
    return Predicted(LabelledFilms(ids, ids // 2, targets), logits)


@pytest.fixture(scope="module")
def parts():
    return predicted(200, 0, 0), predicted(150, 1000, 1)


@pytest.fixture(scope="module")
def card(parts):
    validation, test = parts
    sexes = by_sex(np.where(np.arange(150) % 3 == 0, "F", "M").tolist())
    return report_card(FINDINGS, test, validation, {"sex": sexes}, OPTIONS)


def test_auroc_and_its_intervals_are_those_of_the_study(parts, card):
    _, test = parts
    per_finding, over_findings = score_with_intervals(test.logits, test.films, FINDINGS, num_draws=60, seed=3)
    assert card.metrics["auroc"].macro == over_findings
    assert card.metrics["auroc"].per_class["Mass"] == per_finding["Mass"]


def test_every_metric_has_an_interval_around_its_value(card):
    assert tuple(card.metrics) == (*RANKED, *DECIDED, *CALIBRATED)
    for name, metric in card.metrics.items():
        for low, value, high in (
            (each.low, each.value, each.high) for each in (metric.macro, metric.per_class["Mass"])
        ):
            assert low < value < high, name


def test_finding_without_positives_is_named(card):
    for name in (*RANKED, *DECIDED):
        assert card.metrics[name].not_scored == ("Hernia",)
    assert card.metrics["brier"].not_scored == ()


def test_threshold_is_chosen_on_validation_and_used_on_test(parts, card):
    validation, test = parts
    threshold = best_f1_threshold(validation.logits[:, 0].astype(np.float64), validation.films.targets[:, 0])
    assert card.thresholds["Mass"] == pytest.approx(expit(threshold))
    expected = f1_score(test.films.targets[:, 0], test.logits[:, 0] >= threshold)
    assert card.metrics["f1"].per_class["Mass"].value == pytest.approx(expected)


def test_temperature_repairs_the_error(card):
    assert card.temperature["Mass"] > 1.2
    assert card.metrics["ece_calibrated"].macro.value < card.metrics["ece"].macro.value


def test_test_labels_choose_nothing(parts, card):
    validation, test = parts
    shuffled = Predicted(replace(test.films, targets=test.films.targets[::-1]), test.logits)
    again = report_card(FINDINGS, shuffled, validation, options=OPTIONS)
    np.testing.assert_equal((again.thresholds, again.temperature), (card.thresholds, card.temperature))


def test_without_validation_nothing_rests_on_a_choice(parts):
    found = report_card(FINDINGS, parts[1], options=OPTIONS)
    assert tuple(found.metrics) == (*RANKED, "brier", "ece")
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["temperature"]["Mass"] is None


def test_order_of_films_changes_nothing(parts, card):
    validation, test = parts
    order = np.random.default_rng(0).permutation(150)
    films = test.films
    mixed = LabelledFilms(films.image_ids[order], films.patient_ids[order], films.targets[order])
    again = report_card(FINDINGS, Predicted(mixed, test.logits[order]), validation, options=OPTIONS)
    for name, metric in again.metrics.items():
        np.testing.assert_allclose(metric.macro, card.metrics[name].macro, atol=1e-12)


def test_unknown_labels_are_left_out(parts):
    validation, test = parts
    is_known = np.random.default_rng(1).random((150, 3)) < 0.7
    wrong = np.where(is_known, test.films.targets, 1 - test.films.targets)
    tables = (replace(test.films, targets=targets, is_known=is_known) for targets in (test.films.targets, wrong))
    cards = [report_card(FINDINGS, Predicted(films, test.logits), validation, options=OPTIONS) for films in tables]
    for name, metric in cards[0].metrics.items():
        assert metric.to_json() == cards[1].metrics[name].to_json()


def test_json_is_plain_and_whole(card):
    content = json.loads(json.dumps(card.to_json(), allow_nan=False))
    assert content["metrics"]["auprc"]["not_scored"] == ["Hernia"]
    assert content["num_films"] == 150
    assert content["num_patients"] == 75
    assert content["subgroups"][0]["groups"]["F"]["num_films"] == 50
    assert content["options"]["num_draws"] == 60


def test_exclusive_classes_have_an_accuracy():
    generator = np.random.default_rng(2)
    shown = generator.integers(0, 3, 300)
    logits = generator.standard_normal((300, 3)) + 2 * np.eye(3)[shown]
    halves = [slice(0, 150), slice(150, 300)]
    validation, test = (
        Predicted(LabelledFilms(np.arange(300)[half], np.arange(300)[half], np.eye(3)[shown[half]]), logits[half])
        for half in halves
    )
    found = report_card(("normal", "pneumonia", "covid"), test, validation, options=replace(OPTIONS, exclusive=True))
    assert found.exclusive.accuracy.value == pytest.approx(accuracy_score(shown[150:], logits[150:].argmax(1)))
    assert found.exclusive.confusion.sum() == 150
    odds = np.log(np.exp(logits[150:]) / (np.exp(logits[150:]).sum(1, keepdims=True) - np.exp(logits[150:])))
    expected = auroc_per_class(odds, np.eye(3)[shown[150:]])
    np.testing.assert_allclose([each.value for each in found.metrics["auroc"].per_class.values()], expected)


def test_patient_on_both_sides_is_refused(parts):
    with pytest.raises(ValueError, match="75 patients are in both validation and test"):
        report_card(FINDINGS, parts[1], parts[1])


def test_film_scored_twice_is_refused(parts):
    test = parts[1]
    twice = Predicted(replace(test.films, image_ids=np.zeros(150)), test.logits)
    with pytest.raises(ValueError, match="test: an image id occurs twice"):
        report_card(FINDINGS, twice)


@pytest.mark.parametrize(("value", "exclusive"), [(np.inf, False), (np.nan, True)])
def test_logits_that_are_none_are_refused(parts, value, exclusive):
    films, logits = parts[1]
    with pytest.raises(ValueError, match="test: logits must be finite"):
        report_card(
            FINDINGS, Predicted(films, np.where(logits > 9, value, logits)), options=CardOptions(exclusive=exclusive)
        )


def test_class_without_a_model_is_named_everywhere(parts):
    (films, logits), validation = parts[1], parts[0]
    blind = np.where([True, False, False], np.nan, logits)
    found = report_card(FINDINGS, Predicted(films, blind), validation, options=replace(OPTIONS, num_draws=5))
    assert all("Mass" in metric.not_scored for metric in found.metrics.values())
    assert found.metrics["auroc"].macro.value == found.metrics["auroc"].per_class["Edema"].value


def test_tables_of_other_shapes_are_refused(parts):
    films, logits = parts[1]
    with pytest.raises(ValueError, match=r"test: logits \(150, 3\) and targets \(150, 3\) of 2 findings"):
        report_card(FINDINGS[:2], Predicted(films, logits))
