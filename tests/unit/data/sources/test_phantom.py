import hashlib
import json
import pickle
from collections import defaultdict

import cv2
import numpy as np
import pytest

from evax.data.phantom.plan import FINDINGS
from evax.data.sources.phantom import PhantomSource, draw_split


@pytest.fixture(scope="module")
def source():
    return PhantomSource(num_films=200, seed=5, size=96)


@pytest.fixture(scope="module")
def films(source):
    return source.films()[0]


def test_table_has_every_film_and_refuses_none(source):
    films, refusals = source.films()
    assert [film.image_id for film in films[:2]] == ["phantom-000000", "phantom-000001"]
    assert (len(films), refusals) == (200, [])


def test_films_of_a_patient_come_together(films):
    assert [film.patient_id for film in films[122:125]] == ["P00061", "P00061", "P00062"]


def test_patients_do_not_cross_splits(films):
    splits = defaultdict(set)
    for film in films:
        splits[film.patient_id].add(film.splits["official"])
    assert {len(names) for names in splits.values()} == {1}


def test_splits_have_their_shares():
    names = [draw_split(0, patient) for patient in range(2000)]
    shares = [names.count(name) / len(names) for name in ("train", "val", "test")]
    np.testing.assert_allclose(shares, [0.7, 0.1, 0.2], atol=0.03)


def test_labels_boxes_and_mask_bits_agree(source, films):
    for film in films[:20]:
        bits = int(np.bitwise_or.reduce(source.read(film).masks["lesions"], axis=None))
        assert film.labels == tuple(bits >> k & 1 for k in range(len(FINDINGS)))
        present = [name for name, label in zip(FINDINGS, film.labels, strict=True) if label]
        assert [box.finding for box in film.boxes] == present


def test_demographics_are_those_of_a_patient(films):
    assert (films[0].sex, films[0].age) == (films[1].sex, films[1].age)
    assert {film.view for film in films} == {"PA", "AP"}
    assert {film.sex for film in films} == {"F", "M"}


def test_a_child_process_reads_the_same_film(source, films):
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read(films[7]).image, source.read(films[7]).image)


@pytest.mark.parametrize("change", [{"num_films": 9}, {"seed": 1}, {"size": 64}, {"films_per_patient": 1}])
def test_fingerprint_changes_with_every_setting(change):
    settings = {"num_films": 8, "seed": 0, "size": 96, "films_per_patient": 2}
    assert PhantomSource(**settings).fingerprint() == PhantomSource(**settings).fingerprint()
    assert PhantomSource(**settings).fingerprint() != PhantomSource(**(settings | change)).fingerprint()


@pytest.mark.parametrize(("key", "value"), [("num_films", 0), ("seed", -1), ("size", 8), ("films_per_patient", 0)])
def test_an_impossible_setting_is_named(key, value):
    with pytest.raises(ValueError, match=f"{key} is {value}"):
        PhantomSource(**{key: value})


def test_contrast_makes_lesions_clearer_and_nothing_else(source, films):
    clear = PhantomSource(num_films=200, seed=5, size=96, contrast=4.0)
    film = next(film for film in films if sum(film.labels))
    lesions = source.read(film).masks["lesions"] > 0
    change = np.abs(clear.read(film).image.astype(int) - source.read(film).image)
    near = cv2.dilate(lesions.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert change[lesions].mean() > 5 * change[~near].mean()
    assert clear.films()[0] == source.films()[0]
    assert clear.fingerprint() != source.fingerprint()
    with pytest.raises(ValueError, match="contrast is 0"):
        PhantomSource(contrast=0.0)


def test_planted_squares_take_the_place_of_lesions(source):
    planted = PhantomSource(num_films=200, seed=5, size=96, planted="square")
    films = planted.films()[0]
    assert planted.findings == ("Square",)
    assert {len(film.boxes) for film in films if film.labels == (1,)} == {1}
    assert {film.boxes for film in films if film.labels == (0,)} == {()}
    for film in films[:10]:
        assert int(planted.read(film).masks["lesions"].max()) == film.labels[0]
    assert planted.fingerprint() != source.fingerprint()


def test_what_is_planted_changes_no_other_pack():
    """Packs of earlier versions keep their fingerprint, so that their preparation can go on."""
    digest = PhantomSource(num_films=8, seed=0, size=96).fingerprint()
    assert digest == hashlib.sha256(json.dumps(["1", 8, 0, 96, 2]).encode()).hexdigest()
    with pytest.raises(ValueError, match="planted is circle"):
        PhantomSource(planted="circle")
