import csv

import numpy as np
import pytest
from cxr14_tree import grey
from mask_trees import cut, disc, masks_tree, save_png, write_lists

from evax.data.leakage import LeakageError
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.masks import MaskFolderSource


def test_lists_are_the_official_scheme_and_clean_draws_validation(tmp_path):
    source = MaskFolderSource(masks_tree(tmp_path))
    films, refusals = source.films()
    assert not refusals
    assert [film.splits["official"] for film in films] == ["train"] * 8 + ["test"] * 2
    assert {film.splits["clean"] for film in films[:8]} <= {"train", "val"}
    assert source.drawn == {"clean": ("train", "val")}
    assert list(source.provenance) == [f"{tmp_path.name}/train.txt", f"{tmp_path.name}/test.txt", "patients"]


def test_a_list_of_validation_films_is_kept(tmp_path):
    masks_tree(tmp_path)
    write_lists(tmp_path, train=[f"film {n}" for n in range(7)], val=["film 7"])  # names without their ending
    source = MaskFolderSource(tmp_path)
    films, refusals = source.films()
    assert not refusals
    assert [film.splits["clean"] for film in films] == ["train"] * 7 + ["val"] + ["test"] * 2
    assert source.drawn == {}


def test_without_lists_all_splits_are_drawn_by_patient(tmp_path):
    masks_tree(tmp_path)
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").unlink()
    for number in range(100, 300):
        for folder in ("images", "lungs", "lesions"):
            (tmp_path / folder / f"case{number // 2}-{number}.png").touch()
    source = MaskFolderSource(tmp_path, patient=r"^(case\d+)-")
    films, _ = source.films()
    splits = {film.patient_id: film.splits["clean"] for film in films}
    assert len(splits) == 110
    assert all(film.splits == {"clean": splits[film.patient_id]} for film in films)
    assert 10 < list(splits.values()).count("test") < 35


def test_lists_that_cross_patients_stop_the_preparation_and_can_be_drawn_again(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    crossing = r"^(film) [089]"  # 8 and 9 are test films
    with pytest.raises(LeakageError, match=r"puts 1 patient\(s\) .*, or draw by patient \(source\.splits=drawn\), and"):
        prepare(MaskFolderSource(raw, patient=crossing), tmp_path / "pack", size=16, workers=0)
    drawn = MaskFolderSource(raw, patient=crossing, splits="drawn")
    prepare(drawn, tmp_path / "pack", size=16, workers=0)
    pack = Pack(tmp_path / "pack")
    assert pack.manifest.counts["patients"] == 8
    assert list(pack.manifest.counts["splits"]) == ["clean"]
    assert pack.manifest.provenance == {"splits": "drawn by patient", "patients": f"{crossing} in a film's name"}


def test_more_validation_takes_patients_of_train_alone(tmp_path):
    masks_tree(tmp_path)
    shares = {share: MaskFolderSource(tmp_path, splits="drawn", val_share=share) for share in (0.1, 0.79)}
    small, large = ({film.image_id: film.splits["clean"] for film in each.films()[0]} for each in shares.values())
    assert {name for name, split in small.items() if split == "test"} == {n for n, s in large.items() if s == "test"}
    assert {name for name, split in small.items() if split == "val"} <= {n for n, s in large.items() if s == "val"}
    assert "train" in small.values()
    assert "train" not in large.values()


def test_folders_become_masks_with_their_values(tmp_path):
    prepare(MaskFolderSource(masks_tree(tmp_path / "raw")), tmp_path / "pack", size=80, workers=0)
    pack = Pack(tmp_path / "pack")
    assert (pack.manifest.masks, pack.share, len(pack)) == (["lesions", "lungs"], "credentialed", 10)
    assert {value for row in range(10) for value in np.unique(pack.mask("lungs", row))} == {0, 1, 2}
    assert {value for row in range(10) for value in np.unique(pack.mask("lesions", row))} == {0, 1}


def test_masks_can_be_chosen(tmp_path):
    prepare(MaskFolderSource(masks_tree(tmp_path / "raw"), ["lungs"]), tmp_path / "pack", size=32, workers=0)
    assert Pack(tmp_path / "pack").manifest.masks == ["lungs"]
    with pytest.raises(FileNotFoundError, match=r"source\.masks: .* has no masks heart/; it has: .*lesions"):
        MaskFolderSource(tmp_path / "raw", ["heart"]).films()


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    for name in ("cut", "small", "alone", "empty"):
        save_png(raw / f"images/{name}.png", grey(len(name)))
        save_png(raw / f"lungs/{name}.png", disc(70 if name == "small" else 80))
        save_png(raw / f"lesions/{name}.png", disc(value=0))  # no lesion is no fault
    cut(raw / "images/cut.png")
    (raw / "lungs/alone.png").unlink()
    save_png(raw / "lesions/nobody.png", disc())
    with (raw / "train.txt").open("a") as file:
        file.write("unknown.png\n")
    report = prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = sorted((line["item"], line["reason"]) for line in csv.DictReader(file))
    assert found == [
        ("alone.png", "no_mask"),
        ("cut.png", "truncated"),
        ("lesions/nobody.png", "no_film"),
        ("small.png", "mask_size"),
        ("unknown.png", "missing"),
    ]
    pack = Pack(tmp_path / "pack")
    assert report.films == 11
    assert "empty.png" in pack.image_ids
    assert pack.split("official")[list(pack.image_ids).index("empty.png")] == ""


def test_255_is_a_label_where_any_mask_of_the_folder_has_another(tmp_path):
    raw = masks_tree(tmp_path / "raw")  # lesions of 0 and 255
    save_png(raw / "lungs/film 0.png", disc(80, 100, 255, left=0.8))  # a left lung alone, beside masks of 0, 1 and 2
    save_png(raw / "lesions/film 3.png", disc(80, 100))  # 0 and 1, as another tool writes the same
    prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0)
    pack = Pack(tmp_path / "pack")
    assert pack.manifest.mask_values == {"lesions": [0, 1], "lungs": [0, 1, 2, 255]}
    first = pack.image_ids.tolist().index("film 0.png")
    assert set(np.unique(pack.mask("lungs", first))) == {0, 255}


def test_a_soft_border_is_no_mask(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    soft = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (80, 1))
    save_png(raw / "lesions/film 3.png", soft)
    report = prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    assert report.reasons == {"bad_mask": 1}
    assert "film 3.png has 100 values, as of a soft border" in (tmp_path / "pack/quarantine.csv").read_text()
    assert Pack(tmp_path / "pack").manifest.mask_values["lesions"] == [0, 1]  # of the others


def test_a_film_on_two_lists_stops_the_preparation(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    write_lists(raw, test=["film 8.png", "film 0.png"])
    with pytest.raises(LeakageError, match=r"put 1 film\(s\) into more than one split"):
        prepare(MaskFolderSource(raw), tmp_path / "pack", size=32, workers=0)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks images/: films are wanted there, and PNG masks"):
        MaskFolderSource(tmp_path).films()
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="has no folder of PNG masks beside images/"):
        MaskFolderSource(tmp_path).films()
    with pytest.raises(ValueError, match=r"source\.patient=\^case must be a regular expression with a group"):
        MaskFolderSource(tmp_path, patient="^case")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"patient": "^(case"}, r"source\.patient=\^\(case must be a regular expression with a group"),
        ({"patient": r"^(case\d+)-"}, r"source\.patient=.* finds a patient in no film's name"),
        ({"val_share": 0.8}, r"source\.val_share=0\.8 must lie between 0 and 0\.8"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, said, tmp_path):
    raw = masks_tree(tmp_path)
    with pytest.raises(ValueError, match=said):
        MaskFolderSource(raw, **settings).films()


@pytest.mark.data
def test_real_films_with_their_masks(shared_data, tmp_path):
    raw = shared_data / "covid_segmentation"
    report = prepare(MaskFolderSource(raw), tmp_path / "pack", size=128, workers=0)
    assert (report.films, report.items, report.usable) == (78, 78, True)
    pack = Pack(tmp_path / "pack")
    assert pack.manifest.masks == ["heart", "lesions", "lungs"]
    values = {
        name: {int(v) for row in range(78) for v in np.unique(pack.mask(name, row))} for name in pack.manifest.masks
    }
    assert values == {"heart": {0, 1}, "lesions": {0, 1, 2}, "lungs": {0, 1, 2}}
    official = pack.split("official").tolist()
    assert (official.count("train"), official.count("test")) == (61, 17)
    clean = pack.split("clean").tolist()
    assert clean.count("test") == 17
    assert 2 <= clean.count("val") <= 14
