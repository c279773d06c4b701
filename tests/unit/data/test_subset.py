"""Fractions keep patients and findings together, weights follow labels, and shuffled labels tell nothing."""

import numpy as np
import pytest

from evax.data.subset import film_weights, labels_of_others, of_films, of_patients, rarest

FINDINGS = ("common", "usual", "rare")


@pytest.fixture(scope="module")
def cohort():
    """3,000 films of 972 patients of whom some have many, and findings of 30, 10 and 1 %."""
    generator = np.random.default_rng(0)
    patients = np.sort(generator.choice(1200, 3000, p=np.arange(1, 1201) / np.arange(1, 1201).sum())).astype(np.int64)
    return patients, generator.random((3000, 3)) < [0.3, 0.1, 0.01]


def chosen(cohort, fraction, seed=0):
    return of_patients(fraction, *cohort, np.random.default_rng(seed))


def test_fractions_are_nested(cohort):
    small, middle, large = (chosen(cohort, fraction) for fraction in (0.01, 0.1, 0.6))
    assert not (small & ~middle).any()
    assert not (middle & ~large).any()
    assert chosen(cohort, 1.0).all()


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.6])
def test_fractions_hold_whole_patients_and_their_number(cohort, fraction):
    is_in, patients = chosen(cohort, fraction), cohort[0]
    inside, outside = set(patients[is_in].tolist()), set(patients[~is_in].tolist())
    assert not inside & outside
    assert len(inside) == round(fraction * len(inside | outside))


def test_fractions_keep_the_shares_of_the_findings(cohort):
    shows = cohort[1]
    for seed in range(5):
        is_in = chosen(cohort, 0.1, seed)
        assert shows[is_in].mean(axis=0) == pytest.approx(shows.mean(axis=0), rel=0.1, abs=0.005)
        assert is_in.mean() == pytest.approx(0.1, rel=0.05)


def test_a_plain_draw_of_patients_would_not_keep_them(cohort):
    """The measure above can fail: without findings to keep, the same draw misses it."""
    patients, shows = cohort
    misses = []
    for seed in range(5):
        is_in = of_patients(0.1, patients, shows[:, :0], np.random.default_rng(seed))
        misses.append(np.abs(shows[is_in].mean(axis=0) - shows.mean(axis=0)).max())
    assert max(misses) > 0.035


@pytest.mark.parametrize("seed", range(5))
def test_as_many_patients_as_findings_show_each_of_them(cohort, seed):
    is_in = chosen(cohort, 0.004, seed)  # five patients
    assert cohort[1][is_in].any(axis=0).all()


def test_the_draw_is_a_function_of_its_seed(cohort):
    assert np.array_equal(chosen(cohort, 0.1), chosen(cohort, 0.1))
    assert not np.array_equal(chosen(cohort, 0.1), chosen(cohort, 0.1, seed=1))


def test_without_findings_patients_are_drawn_plainly(cohort):
    patients, shows = cohort
    unique = np.unique(patients)
    expected = unique[np.random.default_rng(3).permutation(len(unique))[: round(0.2 * len(unique))]]
    is_in = of_patients(0.2, patients, shows[:, :0], np.random.default_rng(3))
    assert np.array_equal(np.unique(patients[is_in]), np.sort(expected))


def test_one_patient_is_the_least(cohort):
    assert len(np.unique(cohort[0][chosen(cohort, 1e-9)])) == 1


def test_the_published_draw_takes_films_as_they_come():
    places = of_films(0.01, 75_312, np.random.default_rng(0))
    assert len(places) == 753  # int(), not round()
    assert len(np.unique(places)) == 753
    assert (np.diff(places) > 0).all()


def test_the_rarest_finding_names_a_film():
    shows = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]], bool)
    assert rarest(shows).tolist() == [1, 0, 2, 3]


def test_balanced_films_of_each_rarest_finding_come_equally_often(cohort):
    shows = cohort[1]
    weights = film_weights(shows, FINDINGS, "balanced")
    sums = [weights[rarest(shows) == number].sum() for number in range(4)]
    assert sums == pytest.approx([len(shows) / 4] * 4)


def test_a_class_that_no_film_has_takes_no_place():
    shows = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)  # one of two classes a film, none without
    assert film_weights(shows, ("a", "b"), "balanced").tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


def test_a_film_has_the_largest_weight_of_its_findings():
    shows = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)
    assert film_weights(shows, FINDINGS, {"rare": 5.0, "common": 0.5}).tolist() == [0.5, 5.0, 1.0, 1.0]


def test_findings_that_yaml_reads_as_numbers_have_weights_too():
    weights = film_weights(np.array([[True, False], [False, True]]), ("0", "1"), {1: 3.0})
    np.testing.assert_array_equal(weights, [1, 3])


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ("equal", r"data\.sampling=equal is not known; use uniform, balanced"),
        ({"Hernia": 2.0}, r"data\.sampling: Hernia is none of the classes common, usual, rare"),
        ({"rare": 0.0}, r"data\.sampling\.rare=0\.0 must be above 0"),
    ],
)
def test_a_wrong_sampling_is_named(sampling, message):
    with pytest.raises(ValueError, match=message):
        film_weights(np.zeros((2, 3), bool), FINDINGS, sampling)


def test_shuffled_labels_are_a_permutation_that_keeps_patients_together(cohort):
    patients, shows = cohort
    others = labels_of_others(patients, np.random.default_rng(0))
    assert sorted(others.tolist()) == list(range(len(patients)))
    assert (patients[others] == patients).mean() < 0.01
    together = patients[1:] == patients[:-1]
    still_together = patients[others][1:] == patients[others][:-1]
    assert still_together[together].mean() > 0.5
    assert abs(np.corrcoef(shows[:, 0], shows[others, 0])[0, 1]) < 0.06
