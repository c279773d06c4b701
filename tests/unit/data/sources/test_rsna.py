import csv

import numpy as np
import pytest
from cxr14_tree import good_tree, grey
from mask_trees import SIDE, cut, good_rsna, rsna_id, save_png, write_lists

from evax.data.leakage import LeakageError, check_gate, cohort
from evax.data.module import PackDataModule
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.masked import check_chosen
from evax.data.sources.rsna import RsnaSource
from evax.data.union import UnionPack


def made(tree, folder, *, size=64, **settings):
    report = prepare(RsnaSource(tree.write(), **settings), folder, size=size, workers=0, max_quarantine=1.0)
    return Pack(folder), report


def test_all_boxes_are_filled_and_the_last_alone_as_published(tmp_path):
    pack, _ = made(good_rsna(tmp_path / "raw", side=SIDE), tmp_path / "pack", size=SIDE)
    union, last = pack.mask("pneumonia", 0), pack.mask("pneumonia_last", 0)
    expected = np.zeros((1024, 1024), np.uint8)
    expected[152:531, 264:477] = 1
    expected[152:605, 562:818] = 1
    assert np.array_equal(union, expected)
    expected[:] = 0
    expected[152:606, 562:819] = 1  # cv2.rectangle draws its end, too
    assert np.array_equal(last, expected)
    assert union.dtype == np.uint8
    assert pack.mask("pneumonia", 2)[:10].all()  # up to the border
    assert pack.mask("pneumonia", 2).sum() == 10 * 1024 + 400 * 400
    assert [(box.finding, box.x * 1024, box.height * 1024) for box in pack.boxes(0)] == [
        ("Pneumonia", 264, 379),
        ("Pneumonia", 562, 453),
    ]


def test_patients_are_those_of_chestxray14(tmp_path):
    films, refusals = RsnaSource(good_rsna(tmp_path).write()).films()
    assert not refusals
    assert [film.patient_id for film in films] == ["cxr14:5", "cxr14:5", "cxr14:1304", "cxr14:1305"]
    assert films[0].splits == films[1].splits
    assert (films[0].view, films[0].sex, films[0].age) == ("PA", "F", 51.0)


def test_films_without_a_box_come_when_asked(tmp_path):
    pack, _ = made(good_rsna(tmp_path / "raw"), tmp_path / "pack", chosen="all")
    assert pack.labels[:, 0].tolist() == [1, 1, 1, 1, 0]
    assert not pack.mask("pneumonia", 4).any()
    assert not pack.mask("pneumonia_last", 4).any()


def test_the_test_films_never_pretrain_in_chestxray14(tmp_path):
    prepare(ChestXray14Source(good_tree(tmp_path / "raw14").write()), tmp_path / "cxr14", size=64, workers=0)
    tree = good_rsna(tmp_path / "raw")
    for number in range(10, 13):
        tree.add(rsna_id(number), (1, 2, 3, 4), nih="00001000_000.png")
        tree.save(rsna_id(number), number)
    made(tree, tmp_path / "rsna")
    pack = Pack(tmp_path / "rsna")
    split = pack.split("clean")[list(pack.patient_ids).index("cxr14:1000")]
    union = UnionPack(tmp_path, ["cxr14"], [f"rsna/clean/{split}"], val_share=0.2)
    assert set(union.patient_ids[union.split("official") == "test"]) >= {"cxr14:1000"}


def test_the_published_lists_run_and_say_what_is_wrong_with_them(tmp_path):
    tree = good_rsna(tmp_path / "raw")
    write_lists(tmp_path / "raw/lists", train=[rsna_id(0), rsna_id(2)], test=[rsna_id(1), rsna_id(3), "not here"])
    pack, report = made(tree, tmp_path / "pack")
    assert report.reasons == {"no_row": 1}  # the name that no row has
    assert pack.split("official").tolist() == ["train", "test", "train", "test"]
    data = PackDataModule(pack=pack, image_size=64, batch_size=2, seed=0, split="official")
    assert (data.gate["passed"], data.gate["overlapping_patients"]) == (False, 1)
    with pytest.raises(LeakageError):
        check_gate(cohort(pack, "official", ["train"]), [cohort(pack, "official", ["test"])])
    assert "lists/train.txt" in pack.manifest.provenance


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    tree = good_rsna(tmp_path / "raw")
    tree.add(rsna_id(20), (1, 1, 5, 5), nih="00000020_000.png")  # no film
    tree.add(rsna_id(21), (1, 1, 5, 5), nih="00000021_000.png")  # cut
    tree.add(rsna_id(22), (1000, 1, 50, 5), nih="00000022_000.png")  # over the border
    tree.add(rsna_id(23), (1, 1, 0, 5), (1, 1, 5, 5), nih="00000023_000.png")  # no width
    tree.add(rsna_id(25), (1, 1, 5, 5))  # of unknown identity
    tree.rows += [f"{rsna_id(26)},,,,,1", f"{rsna_id(27)},1,1,5,5,0"]  # a box that is not there, and one too many
    tree.rows.append(tree.rows[0])
    for number in (21, 22, 23, 24, 25, 26, 27):
        tree.save(rsna_id(number), number)
    cut(tmp_path / f"raw/stage_2_train_images/{rsna_id(21)}.dcm")
    pack, report = made(tree, tmp_path / "pack")
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = sorted((line["item"], line["reason"]) for line in csv.DictReader(file))
    assert found == [
        (f"{rsna_id(0)} (box)", "duplicate_row"),
        (rsna_id(20), "missing"),
        (rsna_id(21), "truncated"),
        (rsna_id(22), "bad_box"),
        (rsna_id(23), "bad_box"),
        (rsna_id(24), "no_row"),
        (f"{rsna_id(25)} (identity)", "no_identity"),
        (rsna_id(26), "bad_box"),
        (rsna_id(27), "bad_label"),
    ]
    assert pack.image_ids.tolist() == [*map(rsna_id, range(4)), rsna_id(25)]
    assert report.films == 5
    assert pack.split("clean")[4] == ""
    assert [box.x * 1024 for box in pack.boxes(0)] == [562, 264]  # the repeated row is the last


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks stage_2_train_labels.csv, stage_2_train_images: download"):
        RsnaSource(tmp_path).films()
    raw = good_rsna(tmp_path).write()
    mapping = raw / "pneumonia-challenge-dataset-mappings_2018.json"
    mapping.write_text("<html>")
    with pytest.raises(ValueError, match=r"mappings_2018\.json is damaged .*: get it again from https"):
        RsnaSource(raw).films()
    mapping.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks pneumonia-.*: put https.* by source\.identity=film"):
        RsnaSource(raw).films()
    films, _ = RsnaSource(raw, identity="film").films()
    assert [film.patient_id for film in films] == [rsna_id(number) for number in range(4)]
    with pytest.raises(ValueError, match=r"source\.chosen=some is unknown; use positive or all"):
        check_chosen("some")


def test_films_may_be_png_and_endings_in_any_case(tmp_path):
    tree = good_rsna(tmp_path / "raw")
    films = tree.root / "stage_2_train_images"
    before, _ = made(tree, tmp_path / "before")
    (films / f"{rsna_id(0)}.dcm").rename(films / f"{rsna_id(0)}.DCM")
    for number, ending in ((1, "png"), (2, "PNG")):
        (films / f"{rsna_id(number)}.dcm").unlink()
        save_png(films / f"{rsna_id(number)}.{ending}", grey(number, 64, 64))
    pack, report = made(tree, tmp_path / "pack")
    assert (report.films, report.reasons, pack.image_ids.tolist()) == (4, {}, before.image_ids.tolist())
    for row in range(4):
        assert np.array_equal(pack.mask("pneumonia", row), before.mask("pneumonia", row))
    assert pack.views.tolist() == ["PA", "", "", "PA"]  # a PNG does not tell


def test_a_film_in_two_forms_or_of_another_shape_is_refused(tmp_path):
    tree = good_rsna(tmp_path / "raw")
    films = tree.root / "stage_2_train_images"
    save_png(films / f"{rsna_id(0)}.png", grey(0))
    (films / f"{rsna_id(1)}.dcm").unlink()
    save_png(films / f"{rsna_id(1)}.png", grey(1, 64, 80))
    _, report = made(tree, tmp_path / "pack")
    assert (report.films, report.reasons) == (2, {"duplicate_file": 2, "mask_size": 1, "missing": 1})
