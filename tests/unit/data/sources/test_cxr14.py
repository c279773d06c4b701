import gzip
import hashlib
import re
import shutil

import numpy as np
import pytest
from cxr14_tree import FAULTS, Tree, good_tree, grey, plant_faults

from evax.data.findings import CXR14
from evax.data.leakage import crossing
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources import cxr14_tables
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.cxr14_tables import official_splits, read_boxes, read_entries


def _films(tree: Tree):
    films, refusals = ChestXray14Source(tree.write()).films()
    return {film.image_id: film for film in films}, {item.item: item.reason for item in refusals}


def test_rows_become_films(tmp_path):
    tree = good_tree(tmp_path)
    films, refusals = _films(tree)
    film = films["00001000_001.png"]
    assert not refusals
    assert len(films) == 12
    assert [name for name, label in zip(CXR14, film.labels, strict=True) if label == 1] == [
        "Effusion",
        "Mass",
    ]
    assert set(films["00001000_000.png"].labels) == {0}
    assert (film.patient_id, film.view, film.sex, film.age) == ("1000", "PA", "F", 50.0)
    np.testing.assert_array_equal(ChestXray14Source(tmp_path).read(film).image, grey(10001))


def test_official_test_list_is_kept_and_validation_is_drawn_by_patient(tmp_path):
    tree = Tree(tmp_path)
    for number in range(600):
        tree.add(f"{number // 2:08d}_{number % 2:03d}.png", number // 2, "test" if number < 60 else "train_val")
    tree.write()
    entries = read_entries(tmp_path / tree.table, [])
    splits = official_splits(tmp_path, entries, [])
    assert [name for name, split in splits.items() if split == "test"] == tree.test
    assert 40 < list(splits.values()).count("val") < 100  # 13 % of 540 are 70
    assert not crossing([entries[name].patient_id for name in splits], splits.values())


def test_sample_lists_are_a_second_scheme(tmp_path):
    tree = good_tree(tmp_path)
    (tmp_path / "splits").mkdir()
    for split, name in zip(("train", "val", "test"), tree.train_val, strict=False):
        (tmp_path / f"splits/{split}.txt").write_text(f"{name} " + " ".join("0" * 14) + "\n")
    films, _ = _films(tree)
    assert [films[name].splits.get("sample") for name in tree.train_val[:4]] == ["train", "val", "test", None]


def test_each_fault_is_refused_with_its_reason(tmp_path):
    tree = good_tree(tmp_path)
    plant_faults(tree)
    films, refusals = _films(tree)
    in_table = ("missing", "unknown_finding", "no_row", "unsafe_name", "duplicate_row")
    assert refusals == {name: reason for name, reason in FAULTS.items() if reason in in_table}
    assert "00001000_000.png" in films


def test_numbered_image_folders(tmp_path):
    tree = Tree(tmp_path)
    for number in (1, 2):
        tree.add(f"0000000{number}_000.png", number, "train_val")
        tree.save(f"0000000{number}_000.png", grey(number), f"images_00{number}/images")
    films, refusals = _films(tree)
    assert len(films) == 2
    assert not refusals


def test_the_same_name_in_two_folders_is_refused_once(tmp_path):
    tree = good_tree(tmp_path)
    tree.save("00001000_000.png", grey(1), "images_001/images")
    assert _films(tree)[1] == {"images_001/00001000_000.png": "duplicate_file"}


def test_boxes_are_in_units_of_the_published_size(tmp_path):
    tree = good_tree(tmp_path)
    tree.boxes = [f"{tree.test[0]},Infiltrate,256,512,128,64,,,", f"{tree.test[0]},Mass,0,0,1024,1024,,,"]
    box, whole = _films(tree)[0][tree.test[0]].boxes
    assert box == ("Infiltration", 0.25, 0.5, 0.125, 0.0625)
    assert whole == ("Mass", 0, 0, 1, 1)


@pytest.mark.parametrize("numbers", ["1,2,3", "1,2,nan,4", "1,2,0,4", "a,b,c,d", "2000,0,9,9"])
def test_bad_box_is_named_and_its_film_stays(numbers, tmp_path):
    tree = good_tree(tmp_path)
    tree.boxes = [f"{tree.test[0]},Mass,{numbers}"]
    films, refusals = _films(tree)
    assert refusals == {f"{tree.test[0]} (box)": "bad_box"}
    assert films[tree.test[0]].boxes == ()


@pytest.mark.parametrize(
    ("text", "years"), [("58", 58), ("058Y", 58), ("006M", 0.5), ("411", np.nan), ("", np.nan), ("x", np.nan)]
)
def test_ages(text, years, tmp_path):
    tree = Tree(tmp_path)
    tree.add("00000001_000.png", 1, "test", age=text)
    tree.write()
    (entry,) = read_entries(tmp_path / tree.table, []).values()
    np.testing.assert_equal(entry.age, years)


def test_first_edition_of_the_table(tmp_path):
    tree = good_tree(tmp_path)
    tree.table = "Data_Entry_2017.csv"
    assert len(_films(tree)[0]) == 12


def test_all_missing_files_are_named_at_once(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        ChestXray14Source(tmp_path).films()
    message = str(caught.value)
    for name in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "test_list.txt", "images/", "raw_dir="):
        assert name in message
    assert "\n" not in message


def test_table_of_another_kind_is_refused(tmp_path):
    tree = good_tree(tmp_path)
    tree.write()
    (tmp_path / tree.table).write_text("Path,Sex\n")
    with pytest.raises(ValueError, match="lacks the columns Image Index"):
        ChestXray14Source(tmp_path).films()


def test_fingerprint_follows_the_tables(tmp_path):
    tree = good_tree(tmp_path)
    before = ChestXray14Source(tree.write()).fingerprint()
    assert ChestXray14Source(tree.write()).fingerprint() == before
    tree.test.pop()
    assert ChestXray14Source(tree.write()).fingerprint() != before


def eva_x_lists(tree, monkeypatch, end="\n"):
    """The three lists of EVA-X's form for the films of a tree, whose hashes the source is made to expect."""
    parts = {"train": tree.train_val[:-2], "val": tree.train_val[-2:], "test": tree.test}
    digests = {}
    for split, names in parts.items():
        lines = [f"{name} {' '.join('0' * 14)}" for name in names]
        digests[f"{split}_official.txt"] = hashlib.sha256(("\n".join(lines) + "\n").encode()).hexdigest()
        (tree.root / f"{split}_official.txt").write_bytes((end.join(lines) + end).encode())
    monkeypatch.setattr(cxr14_tables, "EVA_X_SHA256", digests)
    return parts


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_eva_x_are_the_official_scheme(end, tmp_path, monkeypatch):
    tree = good_tree(tmp_path / "raw")
    tree.write()
    parts = eva_x_lists(tree, monkeypatch, end)
    (tree.root / "train_val_list.txt").unlink()
    (tree.root / "test_list.txt").unlink()
    source = ChestXray14Source(tree.root)
    films, refusals = source.films()
    assert not refusals
    assert {film.image_id: film.splits["official"] for film in films} == {
        name: split for split, names in parts.items() for name in names
    }
    assert source.drawn == {}


def test_the_manifest_tells_which_lists_were_read(tmp_path, monkeypatch):
    tree = good_tree(tmp_path / "raw")
    prepare(ChestXray14Source(tree.write()), tmp_path / "drawn", size=64, workers=0)
    assert "drawn by patient" in Pack(tmp_path / "drawn").manifest.provenance["train_val_list.txt"]
    eva_x_lists(tree, monkeypatch)
    prepare(ChestXray14Source(tree.root), tmp_path / "listed", size=64, workers=0)
    told = Pack(tmp_path / "listed").manifest.provenance
    assert set(told) == {"train_official.txt", "val_official.txt", "test_official.txt"}
    assert all(re.fullmatch("EVA-X's list, sha256 [0-9a-f]{64}", text) for text in told.values())


def test_another_list_under_the_name_of_eva_x_is_refused(tmp_path, monkeypatch):
    tree = good_tree(tmp_path)
    tree.write()
    eva_x_lists(tree, monkeypatch)
    with (tmp_path / "val_official.txt").open("a") as file:
        file.write("00001000_000.png 0\n")
    with pytest.raises(
        ValueError, match=r"val_official\.txt is not EVA-X's list: its sha256 is \w{12}\.\.\."
    ) as caught:
        ChestXray14Source(tmp_path).films()
    assert "\n" not in str(caught.value)


def test_lists_of_eva_x_come_as_three(tmp_path, monkeypatch):
    tree = good_tree(tmp_path)
    tree.write()
    eva_x_lists(tree, monkeypatch)
    (tmp_path / "test_official.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks test_official\.txt"):
        ChestXray14Source(tmp_path).films()


@pytest.mark.data
def test_real_lists_of_eva_x(shared_data, tmp_path):
    for split in ("train", "val", "test"):
        with gzip.open(shared_data / f"nih_metadata/{split}_official.txt.gz") as packed:
            (tmp_path / f"{split}_official.txt").write_bytes(packed.read())
    for name in ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "images"):
        (tmp_path / name).symlink_to(shared_data / "nih_cxr14_sample" / name)
    source = ChestXray14Source(tmp_path)
    films, refusals = source.films()
    splits = [film.splits["official"] for film in films]
    assert not refusals
    assert [splits.count(split) for split in ("train", "val", "test")] == [595, 123, 130]
    entries = read_entries(shared_data / "nih_metadata/Data_Entry_2017_v2020.csv.gz", [])
    members = cxr14_tables.read_splits(tmp_path, cxr14_tables.EVA_X_LISTS, entries, [])
    found = list(members.values())
    assert [found.count(split) for split in ("train", "val", "test")] == [75_312, 11_212, 25_596]
    assert not crossing([entries[name].patient_id for name in members], found)


@pytest.mark.data
def test_real_sample(shared_data):
    films, refusals = ChestXray14Source(shared_data / "nih_cxr14_sample").films()
    assert not refusals
    assert (len(films), len({film.patient_id for film in films})) == (848, 567)
    assert sum(len(film.boxes) for film in films) == 43
    sample = [film.splits["sample"] for film in films]
    assert [sample.count(split) for split in ("train", "val", "test")] == [521, 113, 214]
    assert sum(film.splits["official"] == "test" for film in films) == 130


@pytest.mark.data
def test_whole_tables(shared_data, tmp_path):
    for name in (
        "Data_Entry_2017_v2020.csv",
        "BBox_List_2017.csv",
        "test_official.txt",
        "train_official.txt",
    ):
        with (
            gzip.open(shared_data / f"nih_metadata/{name}.gz") as packed,
            (tmp_path / name).open("wb") as file,
        ):
            shutil.copyfileobj(packed, file)
    with gzip.open(shared_data / "nih_metadata/val_official.txt.gz") as packed:
        train_val = (tmp_path / "train_official.txt").read_bytes() + packed.read()
    (tmp_path / "train_val_list.txt").write_bytes(train_val)
    (tmp_path / "test_official.txt").rename(tmp_path / "test_list.txt")
    refusals = []
    entries = read_entries(tmp_path / "Data_Entry_2017_v2020.csv", refusals)
    splits = official_splits(tmp_path, entries, refusals)
    boxes = read_boxes(tmp_path / "BBox_List_2017.csv", entries, refusals)
    assert not refusals
    assert len(entries) == len(splits) == 112_120
    assert list(splits.values()).count("test") == 25_596
    assert 0.125 < list(splits.values()).count("val") / 86_524 < 0.135
    assert not crossing([entries[name].patient_id for name in splits], splits.values())
    assert (len(boxes), sum(map(len, boxes.values()))) == (880, 984)


@pytest.mark.data
def test_drawn_validation_split_never_changes(shared_data):
    films, _ = ChestXray14Source(shared_data / "nih_cxr14_sample").films()
    drawn = [film.splits["official"] for film in films]
    assert [drawn.count(split) for split in ("train", "val", "test")] == [648, 70, 130]
