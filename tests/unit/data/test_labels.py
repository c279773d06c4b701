import numpy as np
import pytest

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
