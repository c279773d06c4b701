import numpy as np
import pytest

from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.bootstrap import auroc_draws, estimate
from evax.evaluation.study import LabelledFilms
from evax.evaluation.subgroups import by_age, by_sex, by_view, subgroup_aurocs

FINDINGS = ("Mass", "Edema")
OPTIONS = {"num_draws": 100, "seed": 1}


@pytest.fixture
def films():
    """240 films of 80 patients; the classifier is worse on group "b"."""
    generator = np.random.default_rng(2)
    patients = np.repeat(np.arange(80), 3)
    targets = (generator.random((240, 2)) < 0.4).astype(np.int8)
    groups = np.where(generator.random(240) < 0.5, "a", "b")
    noise = np.where(groups == "a", 0.6, 2.0)[:, None] * generator.standard_normal((240, 2))
    return targets + noise, LabelledFilms(np.arange(240), patients, targets), groups


def test_sexes_and_views_are_put_in_groups():
    assert by_sex(["M", "F", "", "O"]).tolist() == ["M", "F", "unknown", "unknown"]
    assert by_view(["PA", "AP", "LATERAL", "LL", ""]).tolist() == ["PA", "AP", "lateral", "lateral", "unknown"]


def test_age_bands_hold_their_lower_edge():
    ages = np.array([0, 39.5, 40, 59, 60, 80, 95, np.nan])
    assert by_age(ages).tolist() == ["<40", "<40", "40–59", "40–59", "60–79", "≥80", "≥80", "unknown"]


def test_group_is_scored_as_if_alone(films):
    scores, labelled, groups = films
    found = subgroup_aurocs("sex", groups, scores, labelled, FINDINGS, **OPTIONS)
    inside = groups == "a"
    expected = auroc_per_class(scores[inside], labelled.targets[inside])
    assert [each.value for each in found.groups["a"].auroc.per_class.values()] == expected.tolist()
    assert found.groups["a"].auroc.macro.value == pytest.approx(expected.mean())
    assert found.groups["a"].num_films == inside.sum()


def test_gap_is_of_the_same_resamples(films):
    scores, labelled, groups = films
    found = subgroup_aurocs("sex", groups, scores, labelled, FINDINGS, **OPTIONS).gap["Mass"]
    a, b = (
        auroc_draws(scores, labelled.targets, labelled.patient_ids, np.tile((groups == name)[:, None], 2), **OPTIONS)
        for name in "ab"
    )
    assert (found.best, found.worst) == ("a", "b")
    assert found.difference == pytest.approx(estimate(found.difference.value, (a - b)[:, 0]))
    assert found.difference.low > 0


def test_gap_of_groups_alike_can_be_zero(films):
    scores, labelled, _ = films
    random = np.random.default_rng(7).choice(["a", "b"], 240)
    found = subgroup_aurocs("sex", random, np.asarray(labelled.targets + 0.0) + scores, labelled, FINDINGS, **OPTIONS)
    assert found.gap_macro.difference.low < 0 < found.gap_macro.difference.high


def test_class_with_few_films_in_a_group_is_named(films):
    scores, labelled, groups = films
    targets = labelled.targets.copy()
    targets[np.flatnonzero((groups == "b") & (targets[:, 1] == 1))[4:], 1] = 0
    found = subgroup_aurocs(
        "sex", groups, scores, LabelledFilms(labelled.image_ids, labelled.patient_ids, targets), FINDINGS, **OPTIONS
    )
    assert found.groups["b"].auroc.not_scored == ("Edema",)
    assert found.groups["b"].reasons == {"Edema": "4 positives, fewer than 5"}
    assert found.groups["a"].reasons == {}
    assert found.left_out == {"Edema": "fewer than 5 positives or negatives in b"}
    assert found.groups["a"].auroc.not_scored == ()
    assert found.macro_over == ("Mass",)
    assert found.groups["a"].auroc.macro == found.groups["a"].auroc.per_class["Mass"]
    assert found.gap["Edema"].best == ""


def test_group_that_scores_little_does_not_shrink_the_mean(films):
    scores, labelled, groups = films
    groups = groups.astype("<U7")
    groups[:6] = "unknown"
    found = subgroup_aurocs("sex", groups, scores, labelled, FINDINGS, **OPTIONS)
    assert found.macro_over == FINDINGS
    assert np.isnan(found.groups["unknown"].auroc.macro.value)
    assert found.groups["unknown"].reasons["macro"] == "scores 0 of 2 findings"
    assert {found.gap_macro.best, found.gap_macro.worst} == {"a", "b"}


def test_unknown_group_is_scored_and_is_in_no_gap(films):
    scores, labelled, groups = films
    groups = groups.astype("<U7")
    groups[:90] = "unknown"
    reversed_scores = np.where((groups == "unknown")[:, None], -scores, scores)
    found = subgroup_aurocs("sex", groups, reversed_scores, labelled, FINDINGS, **OPTIONS)
    unknown = found.groups["unknown"].auroc
    expected = auroc_per_class(reversed_scores[:90], labelled.targets[:90])
    assert [each.value for each in unknown.per_class.values()] == pytest.approx(expected.tolist())
    assert unknown.macro.value == pytest.approx(expected.mean())
    gaps = [found.gap_macro, *found.gap.values()]
    assert [{gap.best, gap.worst} for gap in gaps] == [{"a", "b"}] * 3


def test_unknown_group_takes_no_finding_from_the_mean(films):
    scores, labelled, groups = films
    groups = groups.astype("<U7")
    groups[:90] = "unknown"
    targets = labelled.targets.copy()
    targets[:90, 1] = 0
    found = subgroup_aurocs(
        "sex", groups, scores, LabelledFilms(labelled.image_ids, labelled.patient_ids, targets), FINDINGS, **OPTIONS
    )
    assert found.macro_over == FINDINGS
    assert np.isnan(found.groups["unknown"].auroc.macro.value)
    assert found.groups["unknown"].auroc.not_scored == ("Edema",)


def test_half_is_of_the_findings_that_all_films_can_score(films):
    scores, labelled, groups = films
    nothing = np.zeros((240, 3), labelled.targets.dtype)
    wide = LabelledFilms(labelled.image_ids, labelled.patient_ids, np.hstack([labelled.targets, nothing]))
    findings = (*FINDINGS, "Hernia", "Fibrosis", "Nodule")
    found = subgroup_aurocs("sex", groups, np.hstack([scores, nothing + 0.5]), wide, findings, **OPTIONS)
    assert found.macro_over == FINDINGS
    assert (found.gap_macro.best, found.gap_macro.worst) == ("a", "b")
    assert found.left_out == dict.fromkeys(findings[2:], "no positive test images")


def test_films_that_are_all_unknown_have_a_mean(films):
    scores, labelled, _ = films
    found = subgroup_aurocs("sex", np.full(240, "unknown"), scores, labelled, FINDINGS, **OPTIONS)
    assert found.groups["unknown"].auroc.macro.value == pytest.approx(auroc_per_class(scores, labelled.targets).mean())
    assert found.gap_macro.best == ""


def test_gap_of_one_group_is_undefined(films):
    scores, labelled, _ = films
    found = subgroup_aurocs("sex", np.full(240, "M"), scores, labelled, FINDINGS, **OPTIONS)
    assert found.to_json()["gap_macro"] == {
        "best": "",
        "worst": "",
        "difference": {"value": None, "low": None, "high": None},
    }
    assert found.groups["M"].auroc.macro.value == pytest.approx(auroc_per_class(scores, labelled.targets).mean())


def test_age_bands_stand_in_their_order(films):
    scores, labelled, _ = films
    ages = np.tile([30.0, 50, 70, 90, np.nan], 48)
    found = subgroup_aurocs("age", by_age(ages), scores, labelled, FINDINGS, num_draws=2)
    assert list(found.groups) == ["<40", "40–59", "60–79", "≥80", "unknown"]
