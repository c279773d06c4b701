import json

import numpy as np
import pytest

from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.bootstrap import paired_macro_difference
from evax.evaluation.comparison import Table, compare_scores, compare_tables
from evax.evaluation.delong import delong_test
from evax.evaluation.predictions import write_predictions
from evax.evaluation.study import LabelledFilms

FINDINGS = ("Mass", "Edema")
FILMS = 120


@pytest.fixture
def films():
    generator = np.random.default_rng(4)
    targets = (generator.random((FILMS, 2)) < 0.4).astype(np.int8)
    scores, rival = (
        (targets + noise * generator.standard_normal((FILMS, 2))).astype(np.float32) for noise in (0.5, 2.0)
    )
    ids = np.array([f"film{i:03d}" for i in range(FILMS)])
    return scores, rival, LabelledFilms(ids, np.arange(FILMS) // 2, targets)


def tables(tmp_path, films, **second):
    scores, rival, labelled = films
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    write_predictions(paths[0], labelled.image_ids, scores, FINDINGS)
    write_predictions(paths[1], labelled.image_ids[::-1], rival[::-1], FINDINGS)
    return Table("ours", (paths[0],)), Table("theirs", (paths[1],), **second)


def test_differences_are_those_of_the_parts(films):
    scores, rival, labelled = films
    found = compare_scores(scores[None], rival[None], labelled, FINDINGS, num_draws=80, seed=2)
    expected = paired_macro_difference(scores, rival, labelled.targets, labelled.patient_ids, num_draws=80, seed=2)
    assert found.difference.macro == pytest.approx(expected)
    assert found.delong["Edema"] == delong_test(scores[:, 1], rival[:, 1], labelled.targets[:, 1])
    assert found.difference.per_class["Edema"].value == pytest.approx(found.delong["Edema"].difference)
    assert found.p_holm["Edema"] >= found.delong["Edema"].p
    assert found.difference.macro.low > 0
    areas = [auroc_per_class(each, labelled.targets)[1] for each in (scores, rival)]
    assert found.scores["Edema"] == pytest.approx(areas)


def test_class_of_one_method_only_leaves_the_mean_and_is_named(films):
    scores, rival, labelled = films
    rival[:, 1] = np.nan
    found = compare_scores(scores[None], rival[None], labelled, FINDINGS, num_draws=20)
    assert found.difference.not_scored == ("Edema",)
    assert found.difference.macro == found.difference.per_class["Mass"]
    assert found.not_scored == {"Edema": "class not in the model's outputs (second)"}
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["delong"]["Edema"]["p"] is None
    assert content["scores"] == {"Mass": list(found.scores["Mass"]), "Edema": [pytest.approx(0.9, abs=0.1), None]}


def test_a_class_that_no_film_allows_is_named_with_its_reason(films):
    scores, rival, labelled = films
    targets = labelled.targets.copy()
    targets[:, 1] = 1
    targets[3:, 0] = 0
    targets[:3, 0] = 1
    few = LabelledFilms(labelled.image_ids, labelled.patient_ids, targets)
    found = compare_scores(scores[None], rival[None], few, FINDINGS, num_draws=20).to_json()
    assert found["not_scored"] == {"Edema": "no negative test images"}
    assert found["remarks"] == {"Mass": "3 positives"}


def test_several_runs_count_by_their_mean(films):
    scores, rival, labelled = films
    runs = np.stack([scores, rival, rival])
    found = compare_scores(runs, rival[None], labelled, FINDINGS, num_draws=30)
    single = compare_scores(scores[None], rival[None], labelled, FINDINGS, num_draws=30)
    assert found.num_runs == (3, 1)
    assert (found.delong, found.p_holm) == ({}, {})
    for name in ("value", "low", "high"):
        assert getattr(found.difference.macro, name) == pytest.approx(getattr(single.difference.macro, name) / 3)


def test_tables_in_any_order_of_films_are_compared(tmp_path, films):
    scores, rival, labelled = films
    found = compare_tables(*tables(tmp_path, films), labelled, FINDINGS, num_draws=20)
    expected = compare_scores(scores[None], rival[None], labelled, FINDINGS, names=("ours", "theirs"), num_draws=20)
    assert found.to_json() == expected.to_json()


def test_other_films_are_refused(tmp_path, films):
    first, second = tables(tmp_path, films)
    scores, _, labelled = films
    ids = labelled.image_ids.astype("<U12")
    ids[0] = "another"
    write_predictions(second.paths[0], ids, scores, FINDINGS)
    with pytest.raises(ValueError, match=r"b\.parquet: scores 1 other films and lacks 1 of 120"):
        compare_tables(first, second, labelled, FINDINGS)


def test_other_protocols_are_refused(tmp_path, films):
    with pytest.raises(ValueError, match="ours is clean and theirs is official code: numbers of different protocols"):
        compare_tables(*tables(tmp_path, films, protocol="official", recipe="code"), films[2], FINDINGS)
