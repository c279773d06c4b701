import numpy as np
import pytest
from composing import composed

from evax.config import instantiate
from evax.data.findings import CHEXPERT
from evax.data.labels import LabelPolicy, resolve_labels

FINDINGS = ("Edema", "Mass")
LABELS = np.array([[1, 0], [-1, -2], [0, -1], [-2, 1]], np.int8)


@pytest.mark.parametrize(
    ("uncertain", "missing", "targets", "is_known"),
    [
        ("zeros", "zeros", [[1, 0], [0, 0], [0, 0], [0, 1]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        ("ones", "zeros", [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        ("ignore", "zeros", [[1, 0], [0, 0], [0, 0], [0, 1]], [[1, 1], [0, 1], [1, 0], [1, 1]]),
        ("smooth", "zeros", [[1, 0], [0.7, 0], [0, 0.7], [0, 1]], [[1, 1], [1, 1], [1, 1], [1, 1]]),
        ("ignore", "ignore", [[1, 0], [0, 0], [0, 0], [0, 1]], [[1, 1], [0, 0], [1, 0], [0, 1]]),
        ("ones", "ignore", [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 1], [1, 0], [1, 1], [0, 1]]),
    ],
)
def test_policies(uncertain, missing, targets, is_known):
    resolved = resolve_labels(LABELS, FINDINGS, uncertain, missing)
    np.testing.assert_array_equal(resolved.targets, np.array(targets, np.float32))
    np.testing.assert_array_equal(resolved.is_known, np.array(is_known, bool))


def test_policy_per_class():
    policies = {"Edema": "ones", "Mass": "ignore"}
    resolved = resolve_labels(LABELS, FINDINGS, "per_class", "zeros", policies)
    assert resolved.targets[1, 0] == 1
    assert not resolved.is_known[2, 1]


def test_per_class_needs_every_finding():
    with pytest.raises(ValueError, match="per_class needs a policy for Mass"):
        resolve_labels(LABELS, FINDINGS, "per_class", "zeros", {"Edema": "ones"})


def test_value_outside_the_table_is_named():
    with pytest.raises(ValueError, match="label 3 of Mass"):
        resolve_labels(np.array([[0, 3]], np.int8), FINDINGS)


def test_labels_and_findings_must_agree():
    with pytest.raises(ValueError, match="2 label columns do not match 1 findings"):
        resolve_labels(LABELS, ("Edema",))


def test_a_number_is_the_target_of_an_uncertain_label():
    resolved = resolve_labels(LABELS, FINDINGS, "per_class", "zeros", {"Edema": 0.75, "Mass": 0.25})
    np.testing.assert_array_equal(resolved.targets, np.array([[1, 0], [0.75, 0], [0, 0.25], [0, 1]], np.float32))


def test_a_number_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"uncertain=1\.5 is unknown"):
        resolve_labels(LABELS, FINDINGS, "per_class", "zeros", {"Edema": 1.5, "Mass": 0.25})


def test_the_policy_chooses_findings_and_their_order():
    assert LabelPolicy(findings=["Mass"]).targets(LABELS, FINDINGS, soft=True).targets.tolist() == [[0], [0], [0], [1]]


def test_scores_know_nothing_of_smoothed_labels():
    soft, hard = (LabelPolicy(uncertain="smooth").targets(LABELS, FINDINGS, soft=each) for each in (True, False))
    assert soft.is_known.all()
    np.testing.assert_array_equal(hard.is_known, [[1, 1], [0, 1], [1, 0], [1, 1]])
    assert set(np.unique(hard.targets)) == {0, 1}


def test_a_finding_that_the_pack_lacks_is_named():
    with pytest.raises(ValueError, match="has no 'Hernia'; it has Edema, Mass"):
        LabelPolicy(findings=["Hernia"]).classes(FINDINGS)


def test_findings_that_yaml_reads_as_numbers_are_text():
    policy = LabelPolicy(findings=[1, 0], uncertain="per_class", per_class={0: "ones", "1": "zeros"})
    assert policy.classes(("0", "1")) == ("1", "0")
    assert policy.targets(LABELS, ("0", "1"), soft=True).targets.shape == (4, 2)


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        (0, r"data\.labels\.findings=0: give a list, \[0\]"),
        ("Mass", r"give a list, \[Mass\]"),
        ([True], r"data\.labels\.findings: true is no name"),
        ([2], "the pack has no '2'"),
    ],
)
def test_what_names_no_finding_is_refused(findings, message):
    with pytest.raises(ValueError, match=message):
        LabelPolicy(findings=findings).classes(FINDINGS)


CHEXPERT5 = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
RANGE = {"Edema": [0.7, 0.8], "Mass": [0.2, 0.3]}


def policy_of(experiment):
    return instantiate(composed(f"experiment={experiment}").data.labels)


def test_golden_table_of_the_five_labels_under_the_hard_policy():
    policy = policy_of("finetune_chexpert_vit_s")
    labels = np.array([[present] * 14 for present in (1, 0, -1, -2)], np.int8)
    assert policy.classes(CHEXPERT) == CHEXPERT5
    resolved = policy.targets(labels, CHEXPERT, soft=True)
    assert resolved.is_known.all()
    assert resolved.targets.tolist() == [[1] * 5, [0] * 5, [1, 0, 0, 1, 0], [0] * 5]


def test_golden_table_of_the_five_labels_under_the_soft_policy():
    policy = policy_of("finetune_chexpert_vit_ti")
    labels = np.array([[present] * 14 for present in (1, 0, -1, -2)], np.int8)
    resolved = policy.targets(labels, CHEXPERT, soft=True)
    assert policy.classes(CHEXPERT) == CHEXPERT5
    assert resolved.is_known.all()
    assert resolved.targets[[0, 1, 3]].tolist() == [[1] * 5, [0] * 5, [0] * 5]
    is_high = np.array([True, False, False, True, False])
    uncertain = resolved.targets[2]
    assert ((uncertain[is_high] >= 0.7) & (uncertain[is_high] <= 0.8)).all()
    assert ((uncertain[~is_high] >= 0.2) & (uncertain[~is_high] <= 0.3)).all()
    is_known = policy.targets(labels, CHEXPERT, soft=False).is_known
    assert is_known.tolist() == [[True] * 5, [True] * 5, [False] * 5, [True] * 5]


def test_the_classes_of_the_five_labels_are_picked_by_name():
    labels = np.zeros((1, 14), np.int8)
    labels[0, CHEXPERT.index("Pleural Effusion")] = 1
    resolved = policy_of("finetune_chexpert_vit_s").targets(labels, CHEXPERT, soft=True)
    assert resolved.targets.tolist() == [[0, 0, 0, 0, 1]]


def test_a_range_draws_each_film_its_own_target_by_seed():
    labels = np.full((2000, 2), -1, np.int8)
    targets, other = (resolve_labels(labels, FINDINGS, "per_class", "zeros", RANGE, seed).targets for seed in (0, 1))
    again = resolve_labels(labels, FINDINGS, "per_class", "zeros", RANGE, 0).targets
    np.testing.assert_array_equal(targets, again)
    assert not np.array_equal(targets, other)
    assert targets.min(axis=0) == pytest.approx([0.7, 0.2], abs=1e-3)
    assert targets.max(axis=0) == pytest.approx([0.8, 0.3], abs=1e-3)
    assert targets.mean(axis=0) == pytest.approx([0.75, 0.25], abs=5e-3)
    assert abs(np.corrcoef(targets.T)[0, 1]) < 0.08


@pytest.mark.parametrize("range_", [[0.3, 0.2], [0.0, 0.5], [0.5, 1.0], [0.5], [0.1, 0.2, 0.3]])
def test_a_range_that_is_none_is_refused(range_):
    with pytest.raises(ValueError, match=r"is unknown; use .* a range of them"):
        resolve_labels(LABELS, FINDINGS, "per_class", "zeros", {"Edema": range_, "Mass": 0.25})
