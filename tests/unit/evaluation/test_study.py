import json
from dataclasses import replace

import numpy as np
import pytest

from evax.evaluation import study
from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.knn import Vote, knn_scores
from evax.evaluation.probe import LinearProbe, fit_axes, probe_scores
from evax.evaluation.study import Candidate, LabelledFilms, probe_study

FINDINGS = ("Mass", "Edema", "Hernia")
OPTIONS = {"findings": FINDINGS, "scored": ("Edema", "Mass"), "grid": (1.0, 0.01), "num_draws": 50}


def films(count, first, seed):
    """Films of two per patient, with features that see the findings and features that do not."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((count, 3)) < 0.4).astype(np.int8)
    seeing = (targets + generator.standard_normal((count, 3))).astype(np.float32)
    blind = generator.standard_normal((count, 3)).astype(np.float32)
    ids = np.arange(first, first + count)
    return LabelledFilms(ids, ids // 2, targets), seeing, blind


@pytest.fixture(scope="module")
def parts():
    train, seeing_train, blind_train = films(120, 0, 0)
    test, seeing_test, blind_test = films(60, 1000, 1)
    return train, test, Candidate(blind_train, blind_test), Candidate(seeing_train, seeing_test)


@pytest.fixture(scope="module")
def result(parts):
    train, test, blind, seeing = parts
    return probe_study({"blind": blind, "seeing": seeing}, train, test, **OPTIONS)


def test_every_setting_is_tried_and_the_best_is_chosen(result):
    tried = [(trial.features, trial.strength) for trial in result.trials]
    assert tried == [("blind", 0.01), ("blind", 1.0), ("seeing", 0.01), ("seeing", 1.0)]
    assert result.chosen.features == "seeing"
    assert result.chosen.auroc_macro == max(trial.auroc_macro for trial in result.trials)


def test_a_single_setting_needs_no_cross_validation(parts, monkeypatch):
    train, test, _, seeing = parts
    monkeypatch.setattr(study, "cross_validate", None)
    alone = probe_study({"seeing": seeing}, train, test, **OPTIONS | {"grid": (0.1,)})
    assert alone.chosen == ("seeing", 0.1, None)


def test_scores_are_those_of_the_chosen_probe(parts, result):
    train, test, _, seeing = parts
    probe = LinearProbe(result.chosen.strength).fit(seeing.fitting, train.targets[:, [1, 0]])
    np.testing.assert_array_equal(result.scores, probe.scores(seeing.test))
    expected = auroc_per_class(result.scores, test.targets[:, [1, 0]])
    assert [result.auroc["Edema"].value, result.auroc["Mass"].value] == expected.tolist()
    assert result.auroc_macro.value == pytest.approx(expected.mean())


def test_intervals_hold_the_values(result):
    for interval in (*result.auroc.values(), result.auroc_macro):
        assert interval.low < interval.value < interval.high


def test_test_labels_cannot_change_the_choice(parts, result):
    train, test, blind, seeing = parts
    shuffled = replace(test, targets=test.targets[::-1])
    again = probe_study({"blind": blind, "seeing": seeing}, train, shuffled, **OPTIONS)
    assert again.chosen == result.chosen
    np.testing.assert_array_equal(again.scores, result.scores)


def test_test_films_are_scored_once(parts, monkeypatch):
    train, test, blind, seeing = parts
    seen = []

    def counted(features, targets, is_known, others, *settings):
        seen.append(others is blind.test or others is seeing.test)
        return probe_scores(features, targets, is_known, others, *settings)

    monkeypatch.setattr(study, "probe_scores", counted)
    probe_study({"blind": blind, "seeing": seeing}, train, test, **OPTIONS)
    assert seen == [True]


def test_nearest_films_take_the_place_of_the_probe(parts):
    train, test, blind, seeing = parts
    votes = [Vote(40, 0.2), Vote(5, 0.2), Vote(1000, 0.2)]
    found = probe_study({"blind": blind, "seeing": seeing}, train, test, **OPTIONS | {"grid": votes})
    tried = [(trial.features, trial.neighbors) for trial in found.trials]
    assert tried == [(name, count) for name in ("blind", "seeing") for count in (5, 40, 1000)]
    assert found.chosen.features == "seeing"
    assert found.chosen.auroc_macro == max(trial.auroc_macro for trial in found.trials)
    axes = fit_axes(seeing.fitting)
    expected = knn_scores(
        axes.project(seeing.fitting),
        train.targets[:, [1, 0]],
        axes.project(seeing.test),
        num_neighbors=min(found.chosen.neighbors, 120),
        temperature=0.2,
    )
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    assert found.auroc_macro.value > 0.6


def test_patient_on_both_sides_is_refused(parts):
    train, _, blind, _ = parts
    with pytest.raises(ValueError, match="60 patients are in both train and test"):
        probe_study({"blind": blind}, train, train, **OPTIONS)


def test_json_holds_no_nan(result):
    undefined = replace(result, auroc_macro=study.Estimate(float("nan"), 0.1, 0.2))
    content = json.loads(json.dumps(undefined.to_json(), allow_nan=False))
    assert content["auroc_macro"] == {"value": None, "low": 0.1, "high": 0.2}
    assert content["num_test_patients"] == 30
