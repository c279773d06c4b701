import numpy as np

from evax.data.links import digest_key, families, num_shared, patient_key, sorted_unique


def keys(*values):
    return np.array(values, np.uint64)


def together(patients, files, pixels, pairs=None):
    """The rows of each family."""
    family = families({"patient": keys(*patients), "file": keys(*files), "pixel": keys(*pixels)}, pairs)
    return sorted(np.flatnonzero(family == number).tolist() for number in set(family.tolist()))


def test_films_of_a_patient_are_a_family():
    assert together([7, 9, 7], [1, 2, 3], [1, 2, 3]) == [[0, 2], [1]]


def test_links_go_on_over_other_patients():
    # 7 and 8 share pixels, 8 and 9 a file: 7 and 9 are one family, with all their films
    assert together([7, 8, 8, 9, 9, 6], [1, 2, 3, 3, 4, 5], [50, 50, 51, 52, 53, 54]) == [[0, 1, 2, 3, 4], [5]]


def test_a_picture_that_is_there_three_times_links_all():
    assert together([1, 2, 3], [1, 2, 3], [5, 5, 5]) == [[0, 1, 2]]


def test_films_without_a_file_are_not_linked():
    assert together([1, 2], [0, 0], [5, 6]) == [[0], [1]]


def test_pairs_count_as_one_film():
    assert together([1, 2, 3], [1, 2, 3], [1, 2, 3], np.array([[0, 2]])) == [[0, 2], [1]]


def test_no_films_are_no_family():
    assert together([], [], []) == []


def test_a_republished_patient_has_the_key_of_the_first_set():
    assert patient_key("150", "cxr14") == patient_key("cxr14:150", "republished")
    assert patient_key("150", "cxr14") != patient_key("150", "mimic")


def test_the_key_of_a_digest_is_its_beginning():
    assert digest_key("00000000000001ff" + "e" * 48) == 511
    assert digest_key("") == 0


def test_different_keys_ascend_and_nothing_is_none():
    assert sorted_unique(keys(5, 0, 3, 5)).tolist() == [3, 5]
    assert sorted_unique(keys()).tolist() == []


def test_shared_keys_are_counted():
    assert num_shared((keys(1, 3, 5), keys(0, 3, 5, 9))) == 2
