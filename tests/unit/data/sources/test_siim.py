import csv

import numpy as np
import pytest
from mask_trees import SIDE, cut, good_siim, siim_id, write_lists

from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.run_length import decode_runs
from evax.data.sources.siim import SiimSource


def made(tree, folder, *, size=64, **settings):
    report = prepare(SiimSource(tree.write(), **settings), folder, size=size, workers=0, max_quarantine=1.0)
    return Pack(folder), report


@pytest.mark.parametrize("stage", [1, 2])
def test_all_rows_of_a_film_are_its_mask_and_the_last_is_the_published_one(stage, tmp_path):
    pack, report = made(good_siim(tmp_path / "raw", stage=stage, side=SIDE), tmp_path / "pack", size=SIDE)
    assert report.reasons == {}
    assert pack.image_ids.tolist() == [siim_id(number) for number in range(3)]
    first, last = np.zeros((1024, 1024), np.uint8), np.zeros((1024, 1024), np.uint8)
    first[:100, 2:4] = 1  # pixels 2048 and 3072, 1024 to a column
    last[:50, 10] = 1
    assert np.array_equal(pack.mask("pneumothorax", 0), np.maximum(first, last))
    assert np.array_equal(pack.mask("pneumothorax_last", 0), last)
    assert np.array_equal(pack.mask("pneumothorax", 1), decode_runs("0 10", 1024, 1024))
    assert np.array_equal(pack.mask("pneumothorax", 1), pack.mask("pneumothorax_last", 1))


def test_patients_are_those_of_the_header(tmp_path):
    films, refusals = SiimSource(good_siim(tmp_path).write()).films()
    assert not refusals
    assert [film.patient_id for film in films] == ["person 0", "person 1", "person 2"]
    assert (films[0].view, films[0].sex, films[0].age) == ("PA", "F", 51.0)


def test_films_without_a_pneumothorax_come_when_asked(tmp_path):
    pack, _ = made(good_siim(tmp_path / "raw"), tmp_path / "pack", chosen="all")
    assert pack.labels[:, 0].tolist() == [1, 1, 1, 0]
    assert not pack.mask("pneumothorax", 3).any()


def test_published_lists_are_the_official_scheme(tmp_path):
    write_lists(tmp_path / "raw/lists", train=[siim_id(0), siim_id(2)], test=[siim_id(1)])
    source = SiimSource(good_siim(tmp_path / "raw").write())
    films, _ = source.films()
    assert [film.splits["official"] for film in films] == ["train", "test", "train"]
    assert {film.splits["clean"] for film in films} <= {"train", "val", "test"}
    assert list(source.provenance) == ["stage_2_train.csv", "lists/train.txt", "lists/test.txt", "identity"]


def test_unlabelled_films_of_the_competition_are_no_fault(tmp_path):
    tree = good_siim(tmp_path)
    tree.save(siim_id(8), 8, "dicom-images-test")
    tree.save(siim_id(9), 9, "stage_2_images")
    assert SiimSource(tree.write()).films()[1] == []


def test_smaller_films_have_their_masks_resized(tmp_path):
    tree = good_siim(tmp_path / "raw")
    tree.rows = [(siim_id(7), f"0 {512 * 1024}")]  # the left half
    tree.save(siim_id(7), 7)
    for number in range(4):
        next((tmp_path / "raw").rglob(f"{siim_id(number)}.dcm")).unlink()
    pack, _ = made(tree, tmp_path / "pack", size=128)
    assert pack.mask("pneumothorax", 0)[:, :64].all()
    assert not pack.mask("pneumothorax", 0)[:, 64:].any()


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    tree = good_siim(tmp_path / "raw")
    tree.rows += [(siim_id(20), "5 5"), (siim_id(21), "5 5"), (siim_id(22), f"1 {1024 * 1024}"), (siim_id(23), "1 2 3")]
    tree.rows += [(siim_id(25), "7 0"), (siim_id(1), "0 10"), (siim_id(26), "-1"), (siim_id(26), "9 9")]
    for number in (21, 22, 23, 24, 25, 26):
        tree.save(siim_id(number), number)
    write_lists(tmp_path / "raw/lists", train=[siim_id(0), siim_id(20), siim_id(30)], test=[siim_id(24)])
    tree.save(siim_id(2), 2, "copies")  # before dicom-images-train in order, and the one that is kept
    cut(next((tmp_path / "raw").rglob(f"{siim_id(21)}.dcm")))
    pack, report = made(tree, tmp_path / "pack")
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = sorted((line["item"], line["reason"]) for line in csv.DictReader(file))
    original = f"dicom-images-train/1.2.22/1.3.22/{siim_id(2)}.dcm"
    assert found == sorted(
        [
            (f"{siim_id(1)} (row)", "duplicate_row"),
            (siim_id(20), "missing"),
            (siim_id(21), "truncated"),
            (siim_id(22), "bad_mask"),
            (siim_id(23), "bad_mask"),
            (siim_id(24), "no_row"),
            (siim_id(25), "empty_mask"),
            (f"{siim_id(26)} (row)", "bad_label"),
            (siim_id(30), "no_row"),
            (original, "duplicate_file"),
        ]
    )
    assert pack.image_ids.tolist() == [siim_id(0), siim_id(1), siim_id(2), siim_id(26)]
    assert report.films == 4


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks stage_2_train.csv or train-rle.csv: download SIIM-ACR"):
        SiimSource(tmp_path).films()
    (tmp_path / "train-rle.csv").write_text("ImageId,Runs\n")
    with pytest.raises(ValueError, match=r"train-rle.csv lacks the columns EncodedPixels"):
        SiimSource(tmp_path).films()
