import csv

import numpy as np
import pytest
from cxr14_tree import grey
from mask_trees import cut, disc, save_png, shenzhen_id, shenzhen_tree, write_lists
from PIL import Image

from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.shenzhen import ShenzhenSource


def test_instances_are_united_and_normal_films_left_out(tmp_path):
    prepare(ShenzhenSource(shenzhen_tree(tmp_path / "raw")), tmp_path / "pack", size=90, fit="pad", workers=0)
    pack = Pack(tmp_path / "pack")
    assert pack.image_ids.tolist() == [shenzhen_id(number) for number in range(327, 337)]
    union = np.maximum(disc(80, 90, left=0.1), disc(80, 90, left=0.4))  # 328 has two
    assert np.array_equal(pack.mask("tuberculosis", 1)[5:85], union)


def test_the_official_numbers_are_drawn_once_and_for_all(tmp_path):
    source = ShenzhenSource(shenzhen_tree(tmp_path))
    splits = [film.splits["official"] for film in source.films()[0]]
    assert (splits.count("train"), splits.count("test")) == (7, 3)
    assert splits == [film.splits["official"] for film in source.films()[0]]
    assert splits != sorted(splits, reverse=True)
    assert "seed 0" in source.provenance["official"]
    assert source.drawn == {"clean": ("train", "val", "test"), "official": ("train", "test")}


def test_the_paper_has_235_and_101_films(tmp_path):
    for number in range(336):
        for name in (f"CXR_png/{shenzhen_id(number)}.png", f"Annotations/masks/{shenzhen_id(number)}_Nodule_1.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    films, _ = ShenzhenSource(tmp_path).films()
    official, clean = ([film.splits[scheme] for film in films] for scheme in ("official", "clean"))
    assert [official.count(split) for split in ("train", "test")] == [235, 101]
    assert 15 < clean.count("val") < 55
    assert 75 < clean.count("test") < 130


def test_lists_of_ones_own_take_the_place_of_the_draw(tmp_path):
    names = [shenzhen_id(number) for number in range(327, 337)]
    write_lists(shenzhen_tree(tmp_path) / "lists", train=names[:4], test=names[4:])
    source = ShenzhenSource(tmp_path)
    assert [film.splits["official"] for film in source.films()[0]] == ["train"] * 4 + ["test"] * 6
    assert "official" not in source.drawn


def test_a_pack_lists_its_draw_which_can_be_read_again(tmp_path):
    raw, pack = shenzhen_tree(tmp_path / "raw"), tmp_path / "pack"
    source = ShenzhenSource(raw)
    before = {film.image_id: film.splits["official"] for film in source.films()[0]}
    prepare(source, pack, size=32, workers=0)
    lists = {split: (pack / f"split-official-{split}.txt").read_text().splitlines() for split in ("train", "test")}
    assert {name: split for split, names in lists.items() for name in names} == before
    write_lists(raw / "lists", **lists)
    assert {film.image_id: film.splits["official"] for film in ShenzhenSource(raw).films()[0]} == before
    prepare(ShenzhenSource(raw), pack, size=32, workers=0)
    assert not list(pack.glob("split-official-*.txt"))


def test_each_fault_is_named_once_and_nothing_good_is_lost(tmp_path):
    raw = shenzhen_tree(tmp_path / "raw")
    for number in (400, 401, 402, 403):
        save_png(raw / f"CXR_png/{shenzhen_id(number)}.png", grey(number, 80, 90))
    cut(raw / f"CXR_png/{shenzhen_id(400)}.png")
    save_png(raw / f"Annotations/masks/{shenzhen_id(400)}_A_1.png", disc(80, 90))
    save_png(raw / f"Annotations/masks/{shenzhen_id(401)}_A_1.png", disc(80, 80))
    save_png(raw / f"Annotations/masks/{shenzhen_id(402)}_A_1.png", disc(80, 90, 0))
    save_png(raw / f"Annotations/masks/{shenzhen_id(500)}_A_1.png", disc(80, 90))
    write_lists(raw / "lists", train=[shenzhen_id(327), shenzhen_id(403)], test=[shenzhen_id(600)])
    report = prepare(ShenzhenSource(raw), tmp_path / "pack", size=64, workers=0, max_quarantine=1.0)
    with (tmp_path / "pack/quarantine.csv").open(newline="") as file:
        found = sorted((line["item"], line["reason"]) for line in csv.DictReader(file))
    assert found == [
        (shenzhen_id(400), "truncated"),
        (shenzhen_id(401), "mask_size"),
        (shenzhen_id(402), "empty_mask"),
        (shenzhen_id(403), "no_mask"),
        (f"{shenzhen_id(500)}_A_1.png", "no_film"),
        (shenzhen_id(600), "missing"),
    ]
    assert (report.films, report.items) == (10, 16)


def test_films_without_a_mask_may_have_an_empty_one(tmp_path):
    raw = shenzhen_tree(tmp_path / "raw")
    save_png(raw / f"CXR_png/{shenzhen_id(400)}.png", grey(400, 80, 90))
    prepare(ShenzhenSource(raw, unmarked="empty"), tmp_path / "pack", size=64, workers=0)
    assert not Pack(tmp_path / "pack").mask("tuberculosis", 10).any()


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks PNG files in CXR_png and Annotations/masks: download"):
        ShenzhenSource(tmp_path).films()


def test_endings_may_be_in_any_case_and_shapes_in_transparency(tmp_path):
    raw = shenzhen_tree(tmp_path / "raw")
    prepare(ShenzhenSource(raw), tmp_path / "before", size=90, fit="pad", workers=0)
    for path in sorted((raw / "Annotations/masks").iterdir()):
        shape = np.array(Image.open(path))
        Image.fromarray(np.dstack([shape * 0 + 255, shape])).save(path)
    for path in [*raw.glob("CXR_png/*.png"), *raw.glob("Annotations/masks/*.png")]:
        path.rename(path.with_suffix(".PNG"))
    prepare(ShenzhenSource(raw), tmp_path / "after", size=90, fit="pad", workers=0)
    packs = [Pack(tmp_path / name) for name in ("before", "after")]
    for row in range(10):
        assert np.array_equal(*(pack.mask("tuberculosis", row) for pack in packs))
