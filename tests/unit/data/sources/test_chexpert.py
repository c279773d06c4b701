import csv
import math
import shutil

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


def in_batches(tree):
    """The download in the parts that Stanford's storage has: tables and valid/, and two of patients."""
    tree.form = "CheXpert-v1.0"
    root = tree.write()
    home = root.rename(root.with_name("raw"))
    first = home / "CheXpert-v1.0 batch 1 (validate & csv)"
    first.mkdir()
    for name in ("train.csv", "valid.csv", "valid"):
        (home / name).rename(first / name)
    for path in sorted((home / "train").iterdir()):
        number = 2 + int(path.name.removeprefix("patient")) % 2
        batch = home / f"CheXpert-v1.0 batch {number} (train {number - 1})"
        batch.mkdir(exist_ok=True)
        path.rename(batch / path.name)
    (home / "train").rmdir()
    return home


@pytest.mark.parametrize("below", ["", "CheXpert-v1.0 batch 1 (validate & csv)"])
def test_the_full_size_in_batches(below, tmp_path):
    whole, _ = _films(good_chexpert(tmp_path / "whole"))
    films, refusals = CheXpertSource(in_batches(good_chexpert(tmp_path)) / below).films()
    assert not refusals
    assert [film.image_id for film in films] == list(whole)
    assert all(film.path.is_file() for film in films)


def test_tables_may_name_the_batches(tmp_path):
    tree = good_chexpert(tmp_path)
    named = [
        row.replace("CheXpert-v1.0-small/train/", "CheXpert-v1.0 batch 2 (train 1)/") for row in tree.tables["train"]
    ]
    tree.tables["train"] = named
    films, refusals = CheXpertSource(in_batches(tree)).films()
    assert (len(films), refusals) == (8, [])


def test_a_film_in_two_batches_and_one_in_none_are_named(tmp_path):
    home = in_batches(good_chexpert(tmp_path))
    other, batch = (home / f"CheXpert-v1.0 batch {number} (train {number - 1})" for number in (2, 3))
    shutil.copytree(batch / "patient00001", other / "patient00001")
    shutil.rmtree(batch / "patient00003")
    _, refusals = CheXpertSource(home).films()
    assert [refusal.reason for refusal in refusals] == ["duplicate_file", "duplicate_file", "missing"]


def test_a_missing_batch_of_tables_is_named(tmp_path):
    home = in_batches(good_chexpert(tmp_path))
    shutil.rmtree(home / "CheXpert-v1.0 batch 1 (validate & csv)")
    with pytest.raises(FileNotFoundError, match=r"lacks train\.csv, valid\.csv, valid/: download"):
        CheXpertSource(home).films()


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


def test_validation_is_drawn_together_for_patients_with_equal_films(tmp_path):
    tree = good_chexpert(tmp_path / "raw")
    for patient in (37, 38, 115):  # drawn as val, train and val
        add_film(tree, NAME.format(patient, 1), 70)
        add_film(tree, NAME.format(patient, 2), 100 + patient)
    assert prepare(CheXpertSource(tree.write()), tmp_path / "pack", size=80, workers=0).duplicates == 2
    pack = Pack(tmp_path / "pack")
    linked = np.isin(pack.patient_ids, ["patient00037", "patient00038", "patient00115"])
    assert pack.split("clean")[linked].tolist() == ["val"] * 6
    assert set(pack.split("official")[linked]) == {"train"}


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
