"""What `prepare.py` proposes next."""

from dataclasses import replace

import pytest
from composing import composed

from evax.commands.following import EXPERIMENTS, lacking, next_training, splits_told
from evax.data.manifest import NAMES, read_manifest
from evax.runs.settings import check_run


@pytest.fixture
def manifest(pack_folder):
    return read_manifest(pack_folder)


def of(manifest, source, films, **splits):
    return replace(manifest, source=source, counts={"films": films, "splits": splits})


def all_with(train):
    return {"train": train, "val": 2, "test": 2}


def test_the_images_of_each_side_are_told_by_scheme(manifest):
    counted = of(manifest, "cxr14", 848, official={"test": 130, "train": 1648, "val": 70}, sample={"train": 3})
    assert splits_told(counted) == "data.split=official: 1,648 train, 70 val, 130 test\ndata.split=sample: 3 train"


def test_phantoms_are_for_the_demo(manifest):
    assert next_training(manifest, "p") == "python train.py experiment=demo_pretrain data.pack=p"
    assert next_training(of(manifest, "phantom", 9, official=all_with(9)), None).endswith(" batch_size=1")


@pytest.mark.parametrize(
    ("films", "splits", "words"),
    [
        (848, {"official": all_with(600), "sample": all_with(634)}, "experiment=sample_pretrain"),
        (848, {"official": all_with(600)}, "experiment=sample_pretrain data.split=official"),
        (112120, {"official": all_with(78000)}, "data=cxr14"),
    ],
)
def test_a_sample_of_chest_xray14_is_told_from_all_of_it(manifest, films, splits, words):
    assert next_training(of(manifest, "cxr14", films, **splits), None) == f"python train.py {words}"


def test_every_proposal_is_a_run_and_only_own_masks_have_none(manifest):
    assert {*NAMES} - {*EXPERIMENTS} == {"cxr14", "masks"}
    assert next_training(of(manifest, "masks", 9, clean=all_with(9)), None) is None
    for source in {*EXPERIMENTS, "cxr14"}:
        command = next_training(of(manifest, source, 10**5, official=all_with(10**5)), None)
        cfg = composed(*command.removeprefix("python train.py ").split())
        check_run(cfg)
        assert cfg.data.pack.endswith(f"/{source}")


@pytest.mark.parametrize(
    ("source", "splits", "told"),
    [
        (
            "folder",
            {"train": 80, "test": 20},
            "no val images: a training cannot start; prepare again with images in val",
        ),
        ("folder", {"train": 80}, "no val and no test images: a training cannot start"),
        ("phantom", {"train": 80, "val": 0, "test": 20}, "no val images"),
    ],
)
def test_no_training_is_proposed_that_cannot_start(manifest, source, splits, told):
    pack = replace(of(manifest, source, 100, official=splits), provenance={"splits": "column fold"})
    assert next_training(pack, None) is None
    assert lacking(pack).startswith(told)


def test_a_scheme_with_all_splits_is_enough(manifest):
    assert lacking(of(manifest, "chexpert", 9, official={"train": 9, "val": 1}, clean=all_with(9))) is None
    assert lacking(of(manifest, "folder", 9)).startswith("no train and no val and no test images")


@pytest.mark.parametrize(("train", "batch"), [(1, None), (2, "2"), (3, "2"), (15, "2")])
def test_a_segmenter_has_two_images_at_once(manifest, train, batch):
    told = next_training(of(manifest, "siim", 9, official=all_with(train)), None)
    assert (told and told.partition(" batch_size=")[2]) == batch
