import csv

import numpy as np
import pytest
from cxr14_tree import grey
from mask_trees import cut, disc, lung_tree, png, save_png
from PIL import Image

from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.reading import read_grey
from evax.data.sources.lung import LungSource


def quarantine(folder):
    with (folder / "quarantine.csv").open(newline="") as file:
        return sorted((line["item"], line["reason"]) for line in csv.DictReader(file))


def test_the_given_folders_are_the_official_scheme(tmp_path):
    films, refusals = LungSource(lung_tree(tmp_path)).films()
    assert not refusals
    assert [film.splits["official"] for film in films] == ["train"] * 6 + ["test"] * 3
    assert films[0].image_id == "train/CXR_0.png"
    assert {film.splits["clean"] for film in films if film.image_id.startswith("test/")} == {"test"}


def test_clean_draws_validation_from_train(tmp_path):
    lung_tree(tmp_path)
    for number in range(100, 400):
        for folder in ("Images", "Masks"):
            (tmp_path / f"Train/{folder}/CXR_{number}.png").touch()
    films, _ = LungSource(tmp_path).films()
    splits = [film.splits["clean"] for film in films]
    assert 15 < splits.count("val") < 50  # 10 % of 306
    assert splits.count("test") == 3


@pytest.mark.parametrize(("images", "masks", "end"), [("images", "masks", ""), ("Image", "Mask", "_mask")])
def test_documented_variants_are_read(images, masks, end, tmp_path):
    tree = lung_tree(tmp_path / "raw" / "Lung Segmentation")
    for part in ("Train", "Test"):
        for path in sorted((tree / part / "Masks").iterdir()):
            path.rename(path.with_name(f"{path.stem}{end}.png"))
        (tree / part / "Images").rename(tree / part / "x")
        (tree / part / "x").rename(tree / part / images)
        (tree / part / "Masks").rename(tree / part / "y")
        (tree / part / "y").rename(tree / part / masks)
    films, refusals = LungSource(tmp_path / "raw").films()
    assert (len(films), refusals) == (9, [])


def test_masks_of_255_and_of_1_give_the_same_pack(tmp_path):
    packs = []
    for value in (1, 255):
        raw = lung_tree(tmp_path / f"raw{value}", value=value)
        prepare(LungSource(raw), tmp_path / f"pack{value}", size=80, workers=0)
        packs.append(Pack(tmp_path / f"pack{value}"))
    for row in range(9):
        assert np.array_equal(*(pack.mask("lung", row) for pack in packs))
    assert set(np.unique(packs[0].mask("lung", 0))) == {0, 1}
    assert packs[0].digest == packs[1].digest


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    raw = lung_tree(tmp_path / "raw")
    for name in ("cut", "small", "alone", "empty", "soft"):
        save_png(raw / f"Train/Images/{name}.png", grey(len(name)))
    cut(raw / "Train/Images/cut.png")
    save_png(raw / "Train/Masks/cut.png", disc())
    save_png(raw / "Train/Masks/small.png", disc(70, 80))
    save_png(raw / "Train/Masks/empty.png", disc(value=0))
    (raw / "Train/Masks/soft.png").write_text("<html>quota exceeded</html>")
    save_png(raw / "Test/Masks/nobody.png", disc())
    report = prepare(LungSource(raw), tmp_path / "pack", size=80, workers=0, max_quarantine=1.0)
    assert quarantine(tmp_path / "pack") == [
        ("test/nobody.png (mask)", "no_film"),
        ("train/alone.png", "no_mask"),
        ("train/cut.png", "truncated"),
        ("train/empty.png", "empty_mask"),
        ("train/small.png", "mask_size"),
        ("train/soft.png", "bad_mask"),
    ]
    assert (report.films, report.items) == (9, 15)
    pack = Pack(tmp_path / "pack")
    for row, name in enumerate(pack.image_ids):
        part, file = name.split("/")
        np.testing.assert_array_equal(pack.image(row), read_grey(raw / part.capitalize() / "Images" / file))
        np.testing.assert_array_equal(pack.mask("lung", row), disc(left=0.3 + int(file[4]) / 30))


def test_another_download_is_refused_with_the_form_that_is_expected(tmp_path):
    (tmp_path / "Train/Images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"lacks Train/Images or Train/Masks: download .*zenodo") as caught:
        LungSource(tmp_path).films()
    assert "\n" not in str(caught.value)


def test_a_changed_mask_changes_the_fingerprint(tmp_path):
    source = LungSource(lung_tree(tmp_path))
    before = source.fingerprint()
    save_png(tmp_path / "Train/Masks/CXR_0.png", disc(left=0.9))
    assert source.fingerprint() != before


def test_masks_in_any_form_and_with_any_ending_give_the_same_pack(tmp_path):
    raw = lung_tree(tmp_path / "raw")
    masks = sorted((raw / "Train/Masks").iterdir())
    shapes = [np.array(Image.open(path)) for path in masks]
    Image.fromarray(np.dstack([shapes[0] * 0, shapes[0]])).save(masks[0])  # black paint, and the shape in alpha
    masks[1].write_bytes(png(shapes[1][..., None] == 0, 1, 3, (b"PLTE", bytes([255] * 3 + [0] * 3))))
    soft = Image.fromarray(np.kron(shapes[2], np.ones((2, 2), np.uint8))).resize((80, 80), Image.BILINEAR)
    soft.save(masks[2])
    masks[3].rename(masks[3].with_suffix(".PNG"))
    (raw / "Train/Images/CXR_4.png").rename(raw / "Train/Images/CXR_4.PNG")
    prepare(LungSource(raw), tmp_path / "pack", size=80, workers=0)
    pack = Pack(tmp_path / "pack")
    for row, shape in enumerate(shapes):
        assert np.array_equal(pack.mask("lung", row), shape // 255)


def test_images_of_one_name_are_refused(tmp_path):
    raw = lung_tree(tmp_path)
    save_png(raw / "Train/Images/CXR_0.PNG", grey(1))
    films, refusals = LungSource(raw).films()
    assert len(films) == 8
    assert [(refusal.item, refusal.reason) for refusal in refusals] == [
        *(("CXR_0.PNG", "duplicate_file"), ("CXR_0.png", "duplicate_file"), ("train/CXR_0.png (mask)", "no_film"))
    ]
