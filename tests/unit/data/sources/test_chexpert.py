import csv
import math

import numpy as np
import pytest
from chexpert_tree import HEADER, LABELS, MIXED, NAME, add_film, good_chexpert, plant_faults

from evax.data.findings import CHEXPERT
from evax.data.leakage import LeakageError, crossing
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.reading import read_grey
from evax.data.sources.chexpert import CheXpertSource


def _films(tree, **settings):
    films, refusals = CheXpertSource(tree.write(), **settings).films()
    return {film.image_id: film for film in films}, {item.item: item.reason for item in refusals}


@pytest.mark.parametrize("form", ["CheXpert-v1.0", "CheXpert-v1.0-small"])
def test_both_downloads_become_the_same_films(form, tmp_path):
    tree = good_chexpert(tmp_path, form=form)
    films, refusals = _films(tree)
    film = films[NAME.format(1, 1)]
    assert not refusals
    assert len(films) == 8
    assert (film.patient_id, film.study_id) == ("patient00001", "patient00001/study1")
    assert (film.view, film.sex, film.age) == ("AP", "F", 68.0)
    assert film.path == tree.root / NAME.format(1, 1)


@pytest.mark.parametrize("raw_dir", ["", "CheXpert-v1.0-small"])
def test_the_folder_or_the_one_above_it(raw_dir, tmp_path):
    good_chexpert(tmp_path).write()
    assert len(CheXpertSource(tmp_path / raw_dir).films()[0]) == 8


def test_two_downloads_in_one_folder_must_be_chosen_from(tmp_path):
    for form in ("CheXpert-v1.0", "CheXpert-v1.0-small"):
        good_chexpert(tmp_path, form=form).write()
    with pytest.raises(ValueError, match=r"holds 2 downloads: choose raw_dir=.*CheXpert-v1\.0-small"):
        CheXpertSource(tmp_path).films()


def test_uncertain_and_blank_labels_stay_as_they_are(tmp_path):
    films, _ = _films(good_chexpert(tmp_path))
    assert films[NAME.format(1, 1)].labels == LABELS


def test_a_row_without_any_label_stays(tmp_path):
    tree = good_chexpert(tmp_path)
    add_film(tree, NAME.format(9, 1), 9, labels="," * 13)
    assert _films(tree)[0][NAME.format(9, 1)].labels == (-2,) * 14


def test_old_tables_have_another_name_for_opacity_and_no_folder(tmp_path):
    tree = good_chexpert(tmp_path)
    tree.header = HEADER.replace("Lung Opacity", "Airspace Opacity")
    tree.tables = {part: [row.partition("/")[2] for row in rows] for part, rows in tree.tables.items()}
    films, refusals = _films(tree)
    assert not refusals
    assert (len(films), films[NAME.format(1, 1)].labels) == (8, LABELS)


def test_a_renamed_folder_and_a_table_of_the_other_form(tmp_path):
    tree = good_chexpert(tmp_path)
    add_film(tree, NAME.format(9, 1), 9, prefix="CheXpert-v1.0")
    films, refusals = _films(tree)
    assert not refusals
    assert NAME.format(9, 1) in films


def test_lateral_films_come_on_request(tmp_path):
    tree = good_chexpert(tmp_path)
    films, refusals = _films(tree, views="all")
    assert not refusals
    assert sorted(film.view for film in films.values()) == ["AP"] * 6 + ["LATERAL"] * 6 + ["PA"] * 2


def test_frontal_rows_of_odd_projection_are_frontal(tmp_path):
    tree = good_chexpert(tmp_path)
    for number, projection in enumerate(("LL", "RL", ""), 20):
        add_film(tree, NAME.format(number, 1), number, about=f"Unknown,,Frontal,{projection}")
    films, refusals = _films(tree)
    assert not refusals
    assert [films[NAME.format(number, 1)].view for number in (20, 21, 22)] == ["LL", "RL", ""]
    assert films[NAME.format(20, 1)].sex == ""
    assert math.isnan(films[NAME.format(20, 1)].age)


def test_schemes_follow_the_tables_and_draw_validation_by_patient(tmp_path):
    tree = good_chexpert(tmp_path, patients=0)
    for patient in range(1, 601):
        for study in (1, 2):
            add_film(tree, NAME.format(patient, study), 10 * patient + study) if patient < 3 else None
            tree.add(NAME.format(patient, study)) if patient >= 3 else None
    source = CheXpertSource(tree.write())
    rows, _ = source._read_tables(tree.root, [])
    official, clean = ([film.splits[scheme] for film in rows.values()] for scheme in ("official", "clean"))
    assert [official.count(split) for split in ("train", "val", "test")] == [1200, 2, 0]
    assert clean.count("test") == 2
    assert 8 < clean.count("val") < 48  # 2 % of 1,200 are 24
    assert not crossing([film.patient_id for film in rows.values()], clean)


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    tree = good_chexpert(tmp_path / "raw")
    faults = plant_faults(tree)
    report = prepare(CheXpertSource(tree.write()), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = [(line["item"], line["reason"]) for line in csv.DictReader(file)]
    beside = (NAME.format(7008, 1), "no_row")
    assert sorted(found) == sorted(item for item in faults.items() if item != beside)
    assert report.films == 8
    pack = Pack(tmp_path / "pack")
    assert pack.share == "credentialed"
    assert pack.labels.tolist() == [list(LABELS)] * 8
    for row, name in enumerate(pack.image_ids):
        np.testing.assert_array_equal(pack.image(row), read_grey(tree.root / name))


def test_a_patient_in_train_and_valid_stops_the_preparation(tmp_path):
    tree = good_chexpert(tmp_path / "raw")
    add_film(tree, NAME.format(64541, 1), 3)
    with pytest.raises(LeakageError, match=r"scheme clean puts 1 patient\(s\)") as caught:
        prepare(CheXpertSource(tree.write()), tmp_path / "pack", size=32, workers=0)
    assert "64541" not in str(caught.value)


def test_what_is_missing_is_named_at_once(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"lacks train\.csv, valid\.csv, train/, valid/: download CheXpert"
    ) as e:
        CheXpertSource(tmp_path).films()
    assert "\n" not in str(e.value)


def test_a_table_of_another_kind_is_refused(tmp_path):
    tree = good_chexpert(tmp_path)
    tree.header = "Image Index,Finding Labels"
    with pytest.raises(ValueError, match=r"train\.csv lacks the columns Path, Sex"):
        CheXpertSource(tree.write()).films()


def test_the_choice_of_views_is_checked_and_changes_the_fingerprint(tmp_path):
    root = good_chexpert(tmp_path).write()
    assert CheXpertSource(root).fingerprint() == CheXpertSource(root).fingerprint()
    assert CheXpertSource(root).fingerprint() != CheXpertSource(root, views="all").fingerprint()
    with pytest.raises(Exception, match=r"views"):  # a wrong type where annotations are enforced
        CheXpertSource(root, views="lateral")


def test_labels_of_the_fixture_are_in_the_order_of_the_table():
    assert tuple(HEADER.split(",")[5:]) == CHEXPERT
    assert len(MIXED.split(",")) == len(LABELS) == 14
