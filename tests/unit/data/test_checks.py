"""Batches and splits that a pack cannot fill."""

from dataclasses import replace

import pytest

from evax.data.checks import accumulation, check_batch, filling, fitting_batch, rows_in
from evax.data.manifest import read_manifest
from evax.data.pack import Pack


@pytest.mark.parametrize(("per_device", "world_size", "expected"), [(8, 1, 1), (2, 1, 4), (2, 2, 2), (1, 8, 1)])
def test_accumulation_fills_the_global_batch(per_device, world_size, expected):
    assert accumulation(8, per_device, world_size) == expected


def test_a_batch_that_does_not_divide_names_the_multiple():
    with pytest.raises(ValueError, match=r"batch_size=10 does not divide into 2 devices.*choose a multiple of 6"):
        accumulation(10, 3, 2)


@pytest.mark.parametrize(
    ("batch_size", "num_images", "smallest", "proposal"),
    [
        *((1024, 648, 1, "use batch_size=64"), (1024, 648, 24, "use batch_size=48"), (8, 7, 1, "use batch_size=1")),
        *((16, 6, 2, "use batch_size=2"), (16, 6, 6, "use batch_size=6"), (1024, 648, 3, "use batch_size=48")),
        (64, 7, 8, "lower it, per_device_batch or trainer.devices"),
    ],
)
def test_a_batch_of_more_than_all_images_names_one_that_fits(batch_size, num_images, smallest, proposal):
    told = f"^batch_size={batch_size} is more than {num_images} training images; {proposal} or experiment=small$"
    with pytest.raises(ValueError, match=told):
        check_batch(batch_size, num_images, smallest, instead=" or experiment=small")


def test_nothing_is_proposed_where_nothing_fits():
    assert fitting_batch(7, 8) is None


@pytest.mark.parametrize("batch_size", [1, 648])
def test_a_batch_of_all_images_is_a_batch(batch_size):
    check_batch(batch_size, 648)


def test_a_split_without_images_and_an_unknown_one_are_named(pack_folder):
    pack = Pack(pack_folder)
    assert len(rows_in(pack, "official", ("train", "val"))) > len(rows_in(pack, "official", ("val",)))
    with pytest.raises(
        ValueError,
        match=r"^data\.split=official has no images in holdout in the pack .*: it has \d+ train.*; its splits are",
    ):
        rows_in(pack, "official", ("holdout",))
    with pytest.raises(ValueError, match=r"^data\.split=offical: the pack at .* has no such split; it has official$"):
        rows_in(pack, "offical", ("train",))


TWO = {"train": 80, "test": 20}


@pytest.mark.parametrize(
    ("source", "told", "splits", "fix"),
    [
        ("folder", "column fold", {"official": TWO}, "with images in val, or with source.columns.split=null to draw"),
        ("masks", "lists", {"official": TWO}, "with images in val, or with source.splits=drawn to draw"),
        ("folder", "drawn by patient", {"official": TWO}, "prepare again with more patients"),
        ("phantom", "", {"official": TWO}, "prepare again with more patients"),
        ("lung", "", {"official": TWO, "clean": TWO | {"val": 3}}, "use data.split=clean"),
    ],
)
def test_a_split_without_images_is_told_how_to_be_filled(pack_folder, source, told, splits, fix):
    provenance = {"splits": told} if told else {}
    manifest = replace(
        read_manifest(pack_folder), source=source, provenance=provenance, counts={"films": 100, "splits": splits}
    )
    assert fix in filling(manifest, ["val"])
