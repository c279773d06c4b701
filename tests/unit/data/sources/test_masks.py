import csv
import json
import logging
import os

import numpy as np
import pytest
from cxr14_tree import grey
from deep_files import deep_png, exif_chunk
from mask_trees import cut, disc, masks_tree, png, save_png, write_lists
from PIL import Image

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


def quarantined(folder):
    with (folder / "quarantine.csv").open(newline="", encoding="utf-8") as file:
        return {line["item"]: (line["reason"], line["detail"]) for line in csv.DictReader(file)}


def made(raw, tmp_path):
    """The pack of a folder, and what was refused."""
    report = prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    return report, quarantined(tmp_path / "pack")


def test_endings_may_be_in_any_case_and_differ(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    for number, ending in enumerate((".PNG", ".Png", ".pNG")):
        for folder in ("images", "lungs", "lesions"):
            (raw / folder / f"film {number}.png").rename(raw / folder / f"film {number}{ending}")
    (raw / "images/film 3.png").rename(raw / "images/film 3.PNG")
    Image.fromarray(grey(1, 80, 100)).save(raw / "images/film 4.JPEG", "JPEG")
    (raw / "images/film 4.png").unlink()
    write_lists(raw, train=[f"film {number}" for number in range(8)], test=["film 8.png", "film 9.png"])
    report, refused = made(raw, tmp_path)
    assert (report.films, refused) == (10, {})


def test_masks_all_in_upper_case_are_found(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    for path in [*raw.glob("lungs/*.png"), *raw.glob("lesions/*.png")]:
        path.rename(path.with_suffix(".PNG"))
    report, refused = made(raw, tmp_path)
    assert (report.films, refused, Pack(tmp_path / "pack").manifest.masks) == (10, {}, ["lesions", "lungs"])


def test_what_is_not_one_mask_is_named(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    (raw / "lungs/film 0.png").rename(raw / "lungs/film 0.tif")
    (raw / "lungs/film 1.PNG").write_bytes((raw / "lungs/film 1.png").read_bytes())
    (raw / "images/film 2.jpg").write_bytes((raw / "images/film 2.png").read_bytes())
    (raw / "images/film 3.png").rename(raw / "images/film 3.bmp")
    (raw / "lesions/film 4.png").unlink()
    (raw / ".thumbnails").mkdir()
    save_png(raw / ".thumbnails/film 5.png", disc())
    report, refused = made(raw, tmp_path)
    assert refused["film 0.png"] == ("no_mask", "lungs/film 0.tif is no PNG file by its name: save the mask as PNG")
    assert refused["film 1.png"] == ("no_mask", "lungs has film 1.PNG and film 1.png: keep one")
    assert {refused[f"film 2.{ending}"][0] for ending in ("png", "jpg")} == {"duplicate_file"}
    assert refused["lungs/film 3.png"] == (
        "no_film",
        "film 3.bmp is no PNG, JPEG or DICOM by its name: save it as PNG",
    )
    assert refused["film 4.png"] == ("no_mask", "an image without its mask in lesions")
    assert report.films == 5


def test_folders_without_png_masks_are_named(tmp_path, caplog):
    raw = masks_tree(tmp_path / "raw")
    for path in raw.glob("lesions/*.png"):
        path.rename(path.with_suffix(".JPG"))
    with caplog.at_level(logging.WARNING):
        assert MaskFolderSource(raw).masks_of(MaskFolderSource(raw).films()[0][0], 80, 100).keys() == {"lungs"}
    assert "left out, as no PNG is in them: lesions/ (10 .jpg)" in caplog.text
    for path in raw.glob("lungs/*.png"):
        path.rename(path.with_suffix(".tif"))
    with pytest.raises(FileNotFoundError, match=r"only lesions/ \(10 \.jpg\), lungs/ \(10 \.tif\): save masks as PNG$"):
        MaskFolderSource(raw).films()


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_names_that_are_not_utf8_are_refused(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    for folder in ("images", "lungs", "lesions"):
        (raw / folder / "film 0.png").rename(raw / folder / os.fsdecode(b"M\xfcller.png"))
    report, refused = made(raw, tmp_path)
    assert report.films == 9
    assert {name for name, (reason, _) in refused.items() if reason == "unsafe_name"} == {
        *(r"M\xfcller.png", r"lungs/M\xfcller.png", r"lesions/M\xfcller.png")
    }


@pytest.mark.parametrize("turn", range(2, 9))
def test_images_that_exif_turns_are_refused(turn, tmp_path):
    raw = masks_tree(tmp_path / "raw")
    write_lists(raw, train=[f"film {number}" for number in range(8)])
    exif = Image.Exif()
    exif[274] = turn
    (raw / "images/film 0.png").unlink()
    Image.fromarray(grey(1, 80, 80)).save(raw / "images/film 0.jpg", exif=exif)
    for folder, mask in (("lungs", disc() + disc(value=2, left=0.9)), ("lesions", disc(value=255))):
        save_png(raw / folder / "film 0.png", mask)  # square, so that sizes tell nothing
    (raw / "images/film 1.png").write_bytes(
        deep_png(grey(2, 80, 100)[..., None].astype(np.uint16), chunks=[exif_chunk(turn)])
    )
    exif[274] = 1
    (raw / "images/film 2.png").unlink()
    Image.fromarray(grey(3, 80, 100)).save(raw / "images/film 2.jpg", exif=exif)
    report, refused = made(raw, tmp_path)
    assert report.films == 8
    assert {name: reason for name, (reason, _) in refused.items()} == {"film 0.jpg": "turned", "film 1.png": "turned"}
    assert (
        f"film 0.jpg is turned by its EXIF orientation ({turn}), and its mask may not be: save the image upright"
        in (refused["film 0.jpg"][1])
    )


def test_shapes_in_transparency_and_palettes_are_those_in_grey(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    for number, red in enumerate((255, 0)):
        path = raw / f"lesions/film {number}.png"
        shape = np.array(Image.open(path))
        Image.fromarray(np.dstack([np.full_like(shape, red), *[shape * 0] * 2, shape])).save(path)
    shape = np.array(Image.open(raw / "lesions/film 3.png")) > 0
    (raw / "lesions/film 3.png").write_bytes(png(~shape[..., None], 1, 3, (b"PLTE", bytes([255] * 3 + [0] * 3))))
    report, refused = made(raw, tmp_path)
    assert (report.films, refused) == (10, {})
    pack, whole = Pack(tmp_path / "pack"), masks_tree(tmp_path / "grey")
    prepare(MaskFolderSource(whole), tmp_path / "other", size=80, workers=0)
    assert pack.manifest.mask_values["lesions"] == [0, 1]
    for row in range(10):
        assert np.array_equal(pack.mask("lesions", row) > 0, Pack(tmp_path / "other").mask("lesions", row) > 0)


def test_a_palette_of_its_own_may_be_of_other_classes(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    for number, second in enumerate((b"\xff\0\0", b"\xff\0\0", b"\0\xff\0")):
        path = raw / f"lesions/film {number}.png"
        shape = np.array(Image.open(path)) > 0
        path.write_bytes(png(shape[..., None], 1, 3, (b"PLTE", bytes(3) + second)))
    report, refused = made(raw, tmp_path)
    assert (report.films, list(refused)) == (9, ["film 2.png"])
    reason, detail = refused["film 2.png"]
    assert reason == "bad_mask"
    assert detail.startswith(
        "lesions/film 2.png has another colour for 1 than film 0.png, so they may be two classes: "
    )


@pytest.mark.parametrize("value", [1, 2, 255])
def test_a_mask_of_one_value_on_all_pixels_is_refused(value, tmp_path):
    raw = masks_tree(tmp_path / "raw")
    save_png(raw / "lungs/film 0.png", np.full((80, 100), value, np.uint8))
    report, refused = made(raw, tmp_path)
    assert report.films == 9
    assert refused["film 0.png"] == (
        "bad_mask",
        f"mask lungs has the value {value} on all pixels, so that it shows no shape: save it as grey, 0 background",
    )


def test_sizes_that_differ_are_told(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    save_png(raw / "lungs/film 0.png", disc(100, 80))
    assert made(raw, tmp_path)[1] == {
        "film 0.png": ("mask_size", "mask lungs is 80x100, and its image 100x80: save both at one size")
    }


def test_pixels_of_each_value_are_counted_over_all_shards(tmp_path):
    report = prepare(
        MaskFolderSource(masks_tree(tmp_path / "raw")), tmp_path / "pack", size=80, workers=0, shard_size=3
    )
    pack = Pack(tmp_path / "pack")
    masks = np.stack([pack.mask("lungs", row) for row in range(10)])
    assert report.masks["lungs"] == {value: int((masks == value).sum()) for value in (0, 1, 2)}
    lesions = np.stack([pack.mask("lesions", row) for row in range(10)])
    assert report.empty == {"lungs": 0, "lesions": int((~lesions.any((1, 2))).sum())}
    assert pack.mask_pixels("lungs") == report.masks["lungs"]
    again = prepare(MaskFolderSource(tmp_path / "raw"), tmp_path / "pack", size=80, workers=0, shard_size=3)
    assert (again.decoded, again.masks) == (0, report.masks)


@pytest.mark.parametrize(("values", "decoded"), [({"lungs": [0, 1, 2], "lesions": [0, 1]}, 10), ({}, 0)])
def test_shards_from_before_pixels_were_counted_are_read_again_where_they_have_masks(values, decoded, tmp_path):
    raw = masks_tree(tmp_path / "raw")
    first = prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0)
    rows = tmp_path / "pack/rows-00000.json"
    saved = json.loads(rows.read_text()) | {"values": values}
    rows.write_text(json.dumps({key: value for key, value in saved.items() if key != "counts" or not values}))
    again = prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0)
    assert (again.decoded, again.masks) == (decoded, first.masks)


def test_a_soft_border_is_no_mask(tmp_path):
    raw = masks_tree(tmp_path / "raw")
    soft = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (80, 1))
    save_png(raw / "lesions/film 3.png", soft)
    report = prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    assert report.reasons == {"bad_mask": 1}
    assert "film 3.png has 100 values, as of a soft border" in (tmp_path / "pack/quarantine.csv").read_text()
    assert Pack(tmp_path / "pack").manifest.mask_values["lesions"] == [0, 1]  # of the others


@pytest.mark.parametrize(("other", "reasons"), [(0, {"bad_mask": 1}), (1, {})])
def test_an_outline_is_a_class_only_where_another_mask_shows_it(other, reasons, tmp_path):
    raw = masks_tree(tmp_path / "raw")
    for path in (raw / "lesions").iterdir():
        save_png(path, disc(80, 100, 2))
    smaller = Image.fromarray(disc(256, 256, 2)).resize((100, 80), Image.BILINEAR)
    save_png(raw / "lesions/film 3.png", np.array(smaller))
    save_png(raw / "lesions/film 4.png", disc(80, 100, other or 2))
    report = prepare(MaskFolderSource(raw), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    assert report.reasons == reasons
    assert Pack(tmp_path / "pack").manifest.mask_values["lesions"] == ([0, 1, 2] if other else [0, 2])


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
