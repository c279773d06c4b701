import csv

import numpy as np
import pytest
from covidx_tree import LISTS, good_covidx3, good_covidx4, plant_faults
from cxr14_tree import good_tree

from evax.data.findings import COVIDX3, COVIDX4
from evax.data.leakage import LeakageError, crossing
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.reading import read_grey
from evax.data.sources.covidx import CovidX3Source, CovidX4Source
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.union import UnionPack

SOURCES = {"covidx3": CovidX3Source, "covidx4": CovidX4Source}
GOOD = {"covidx3": good_covidx3, "covidx4": good_covidx4}


def _films(tree, **settings):
    films, refusals = SOURCES[tree.task](tree.write(), **settings).films()
    return {film.image_id: film for film in films}, {item.item: item.reason for item in refusals}


def _class(film, findings):
    (present,) = (name for name, label in zip(findings, film.labels, strict=True) if label)
    return present


def test_lines_of_three_classes_become_films(tmp_path):
    films, refusals = _films(good_covidx3(tmp_path))
    assert not refusals
    assert len(films) == 15
    film = films["train/COVID(305).png"]
    assert (film.patient_id, film.origin, film.labels) == ("sirm:COVID_305", "sirm", (0, 0, 1))
    assert film.path == tmp_path / "train/COVID(305).png"
    assert [_class(film, COVIDX3) for film in films.values()].count("normal") == 7


def test_lines_of_two_classes_become_films(tmp_path):
    films, refusals = _films(good_covidx4(tmp_path))
    assert not refusals
    assert [_class(film, COVIDX4) for film in films.values()] == ["negative", "positive"] * 5
    assert {film.origin for film in films.values()} == {"bimcv"}


def test_a_file_name_with_spaces(tmp_path):
    tree = good_covidx3(tmp_path)
    tree.add("train", "9", "COVID-19 normal  (2).png", "COVID-19", "fig1", number=99)
    films, refusals = _films(tree)
    assert not refusals
    assert _class(films["train/portable chest 7.png"], COVIDX3) == "COVID-19"
    assert films["train/COVID-19 normal  (2).png"].origin == "fig1"


@pytest.mark.parametrize("task", SOURCES)
def test_byte_order_mark_and_line_ends_of_windows(task, tmp_path):
    tree = GOOD[task](tmp_path)
    tree.start, tree.end = "\ufeff", "\r\n"
    films, refusals = _films(tree)
    assert not refusals
    assert films.keys() == _films(GOOD[task](tmp_path))[0].keys()


def test_first_lists_have_no_origin(tmp_path):
    tree = good_covidx3(tmp_path)
    tree.lines = {split: [line.rpartition(" ")[0] for line in lines] for split, lines in tree.lines.items()}
    films, refusals = _films(tree)
    assert not refusals
    assert (films["train/COVID(305).png"].patient_id, films["train/COVID(305).png"].origin) == ("covidx:COVID_305", "")


def test_patients_of_nih_are_those_of_chestxray14(tmp_path):
    tree = good_covidx4(tmp_path)
    tree.add("train", "00001304", "00001304_001.png", "negative", "nih", number=50)
    tree.add("train", "3", "3.png", "negative", "cohen", number=51)
    films, _ = _films(tree)
    assert films["train/00001304_001.png"].patient_id == "cxr14:1304"
    assert films["train/3.png"].patient_id == "cohen:3"


def test_validation_without_a_list_is_drawn_by_patient(tmp_path):
    tree = good_covidx3(tmp_path)
    for number in range(600):
        tree.add("train", f"P{number // 2}", f"{number}.png", "normal", "rsna")
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / f"train/{number}.png").touch()
    source = CovidX3Source(tree.write())
    films, _ = source.films()
    splits = [film.splits["official"] for film in films]
    assert 30 < splits.count("val") < 100  # 10 % of 612 are 61
    assert splits.count("test") == 3
    assert not crossing([film.patient_id for film in films], splits)
    assert source.drawn == {"official": ("train", "val")}


def test_published_code_reports_on_the_validation_list(tmp_path):
    tree = good_covidx4(tmp_path, patients=200)
    films, _ = _films(tree)
    official, published = ([film.splits.get(scheme) for film in films.values()] for scheme in ("official", "published"))
    assert [official.count(split) for split in ("train", "val", "test")] == [200, 2, 2]
    assert [films[f"val/film-{number}.png"].splits["published"] for number in (1000, 1001)] == ["test", "test"]
    assert published.count("test") == published.count(None) == 2
    assert 5 < published.count("val") < 40  # 10 % of 200 are 20
    assert CovidX4Source(tmp_path).drawn == {"published": ("train", "val")}


def test_two_lists_without_validation_have_one_drawn(tmp_path):
    tree = good_covidx4(tmp_path)
    tree.write()
    (tmp_path / "val.txt").unlink()
    films, _ = CovidX4Source(tmp_path).films()
    assert len(films) == 8
    assert {scheme for film in films for scheme in film.splits} == {"official"}


def test_lists_of_the_cleaned_edition(tmp_path):
    good_covidx3(tmp_path).write()
    for name in LISTS["covidx3"].values():
        (tmp_path / name).rename(tmp_path / name.replace("COVIDx9A", "COVIDx_CXR-3A"))
    source = CovidX3Source(tmp_path)
    assert len(source.films()[0]) == 15
    assert list(source.provenance) == ["train_COVIDx_CXR-3A.txt", "test_COVIDx_CXR-3A.txt"]


def test_films_of_the_binary_list_beside_that_of_three_classes_are_no_fault(tmp_path):
    tree = good_covidx3(tmp_path)
    tree.save("train", "only binary.png", np.zeros((80, 80), np.uint8))
    assert _films(tree)[1] == {"train/only binary.png": "no_row"}
    (tmp_path / "train.txt").write_text("1 only binary.png negative cohen\n")
    assert _films(tree)[1] == {}


def test_the_list_of_the_other_task_is_refused_at_once(tmp_path):
    tree = good_covidx4(tmp_path)
    with pytest.raises(ValueError, match=r"has the classes negative, positive, but data=covidx3 wants normal, pneum"):
        CovidX3Source(tree.write()).films()


@pytest.mark.parametrize(
    ("task", "names"), [("covidx3", "train_COVIDx9A.txt, test_COV"), ("covidx4", "train.txt, test")]
)
def test_what_is_missing_is_named_at_once(task, names, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"lacks {names}.*: download") as caught:
        SOURCES[task](tmp_path).films()
    assert "\n" not in str(caught.value)


def test_films_may_be_in_one_folder_or_in_another(tmp_path):
    tree = good_covidx4(tmp_path / "raw")
    tree.write()
    (tmp_path / "raw/train").rename(tmp_path / "raw/images")
    (tmp_path / "raw/val").rename(tmp_path / "elsewhere")
    films, refusals = CovidX4Source(tmp_path / "raw", more_images=[str(tmp_path / "elsewhere")]).films()
    assert (len(films), refusals) == (10, [])
    with pytest.raises(FileNotFoundError, match=r"source\.more_images: there is no folder .*nowhere"):
        CovidX4Source(tmp_path / "raw", more_images=[str(tmp_path / "nowhere")]).films()


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    tree = good_covidx3(tmp_path / "raw")
    good = list(_films(tree)[0])
    faults = plant_faults(tree)
    report = prepare(CovidX3Source(tree.write()), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = [(line["item"], line["reason"]) for line in csv.DictReader(file)]
    assert sorted(found) == sorted(faults.items())
    assert report.films == len(good)
    pack = Pack(tmp_path / "pack")
    assert list(pack.image_ids) == good
    assert (pack.labels.sum(axis=1) == 1).all()
    assert set(pack.origins) == {"cohen", "sirm", "actmed", "rsna", "ricord"}
    assert "train_COVIDx9A.txt" in pack.manifest.provenance
    for row, name in enumerate(pack.image_ids):
        np.testing.assert_array_equal(pack.image(row), read_grey(tree.root / name))


def test_a_patient_on_two_lists_stops_the_preparation(tmp_path):
    tree = good_covidx4(tmp_path / "raw")
    tree.add("test", "S00003", "again.png", "positive", "bimcv", number=77)
    with pytest.raises(LeakageError, match=r"covidx4: split scheme official puts 1 patient\(s\)") as caught:
        prepare(CovidX4Source(tree.write()), tmp_path / "pack", size=32, workers=0)
    assert "S00003" not in str(caught.value)


def test_a_film_under_two_names_on_two_lists_stops_the_preparation(tmp_path):
    tree = good_covidx4(tmp_path / "raw")
    tree.add("test", "S9", "copy.png", "positive", "cohen", number=3)
    with pytest.raises(LeakageError, match=r"1 picture\(s\)"):
        prepare(CovidX4Source(tree.write()), tmp_path / "pack", size=32, workers=0)


def test_patients_of_a_covidx_test_set_never_pretrain_in_chestxray14(tmp_path):
    prepare(ChestXray14Source(good_tree(tmp_path / "raw14").write()), tmp_path / "cxr14", size=64, workers=0)
    tree = good_covidx4(tmp_path / "raw4")
    tree.add("test", "00001000", "00001000_007.png", "negative", "nih", number=60)
    prepare(CovidX4Source(tree.write()), tmp_path / "covidx4", size=64, workers=0)
    union = UnionPack(tmp_path, ["cxr14"], ["covidx4/official/test"], val_share=0.2)
    is_test = union.split("official") == "test"
    assert set(union.patient_ids[is_test]) == {"cxr14:1000"}
    assert union.origins.tolist() == [""] * 12


@pytest.mark.data
def test_real_sample_without_validation_list(shared_data):
    films, refusals = CovidX4Source(
        shared_data / "covidx_sample", more_images=[str(shared_data / "nih_cxr14_sample/images")]
    ).films()
    assert not refusals
    assert len(films) == 530
    assert [_class(film, COVIDX4) for film in films].count("positive") == 98
    assert {(film.origin, _class(film, COVIDX4)) for film in films} == {("nih", "negative"), ("cohen", "positive")}
    splits = [film.splits["official"] for film in films]
    assert (splits.count("test"), splits.count("train") + splits.count("val")) == (129, 401)
    assert {film.patient_id.partition(":")[0] for film in films} == {"cxr14", "cohen"}
