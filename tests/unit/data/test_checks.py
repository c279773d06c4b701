"""Batches and splits that a pack cannot fill."""

import pytest

from evax.data.checks import accumulation, check_batch, rows_in
from evax.data.pack import Pack


@pytest.mark.parametrize(("per_device", "world_size", "expected"), [(8, 1, 1), (2, 1, 4), (2, 2, 2), (1, 8, 1)])
def test_accumulation_fills_the_global_batch(per_device, world_size, expected):
    assert accumulation(8, per_device, world_size) == expected


def test_a_batch_that_does_not_divide_names_the_multiple():
    with pytest.raises(ValueError, match=r"batch_size=10 does not divide into 2 devices.*choose a multiple of 6"):
        accumulation(10, 3, 2)


@pytest.mark.parametrize(
    ("batch_size", "num_images", "per_device_batch", "proposal"),
    [(1024, 648, None, "use batch_size=64"), (1024, 648, 24, "use batch_size=48"), (8, 7, None, "use batch_size=1")],
)
def test_a_batch_of_more_than_all_images_names_one_that_fits(batch_size, num_images, per_device_batch, proposal):
    told = f"^batch_size={batch_size} is more than {num_images} training images; {proposal} or experiment=small$"
    with pytest.raises(ValueError, match=told):
        check_batch(batch_size, num_images, per_device_batch, instead=" or experiment=small")


def test_nothing_is_proposed_where_nothing_fits():
    with pytest.raises(ValueError, match=r"^batch_size=64 is more than 7 training images$"):
        check_batch(64, 7, per_device_batch=8)


@pytest.mark.parametrize("batch_size", [1, 648])
def test_a_batch_of_all_images_is_a_batch(batch_size):
    check_batch(batch_size, 648)


def test_a_split_without_images_and_an_unknown_one_are_named(pack_folder):
    pack = Pack(pack_folder)
    assert len(rows_in(pack, "official", ("train", "val"))) > len(rows_in(pack, "official", ("val",)))
    with pytest.raises(ValueError, match=r"^data\.split=official has no images in holdout in the pack"):
        rows_in(pack, "official", ("holdout",))
    with pytest.raises(ValueError, match=r"^data\.split=offical: the pack at .* has no such split; it has official$"):
        rows_in(pack, "offical", ("train",))
