import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from evax.data.dataset import PackDataset
from evax.data.pack import Pack
from evax.data.transforms import Crop, RandomCropFlip, resize
from evax.masking import BlockwiseMasking


@pytest.fixture(scope="module")
def pack(pack_folder):
    return Pack(pack_folder)


def dataset(pack, rows=range(10), **settings):
    chosen = {"size": 32, "seed": 7, "augment": RandomCropFlip(32, Crop()), "masking": BlockwiseMasking(0.4)}
    return PackDataset(pack, np.array(rows), **(chosen | {"grid": (8, 8)} | settings))


def same(a, b) -> bool:
    return a["row"] == b["row"] and torch.equal(a["image"], b["image"]) and torch.equal(a["is_masked"], b["is_masked"])


def test_a_sample_has_bytes_its_row_and_a_mask(pack):
    sample = dataset(pack, rows=[4, 9])[0, 1]
    assert (sample["image"].shape, sample["image"].dtype) == ((1, 32, 32), torch.uint8)
    assert (sample["row"], sample["is_masked"].sum().item()) == (9, 26)


def test_samples_do_not_depend_on_the_order_of_calls(pack):
    keys = [(epoch, position) for epoch in range(2) for position in range(10)]
    forward, backward = dataset(pack), dataset(pack)
    in_order = {key: forward[key] for key in keys}
    assert all(same(backward[key], in_order[key]) for key in reversed(keys))


def test_samples_depend_on_the_row_not_on_its_position(pack):
    assert same(dataset(pack, rows=[3, 8])[1, 1], dataset(pack, rows=[8])[1, 0])


def test_every_epoch_draws_crop_and_mask_anew(pack):
    first, second = dataset(pack)[0, 0], dataset(pack)[1, 0]
    assert not torch.equal(first["image"], second["image"])
    assert not torch.equal(first["is_masked"], second["is_masked"])


def test_another_seed_draws_otherwise(pack):
    first, second = dataset(pack)[0, 0], dataset(pack, seed=8)[0, 0]
    assert not torch.equal(first["image"], second["image"])
    assert not torch.equal(first["is_masked"], second["is_masked"])


def test_masks_do_not_depend_on_the_crop(pack):
    assert torch.equal(dataset(pack)[0, 2]["is_masked"], dataset(pack, augment=None)[0, 2]["is_masked"])


def test_without_crop_the_whole_film_is_resized(pack):
    image = dataset(pack, rows=[5], augment=None)[3, 0]["image"][0].numpy()
    assert np.array_equal(image, resize(pack.image(5), 32))


def test_without_masking_there_is_no_mask(pack):
    assert set(dataset(pack, masking=None)[0, 0]) == {"image", "row"}


@pytest.mark.parametrize("settings", [{}, {"masking": None}, {"augment": None}])
def test_a_batch_is_its_samples(pack, settings):
    films = dataset(pack, **settings)
    keys = [(0, 3), (2, 1), (0, 9)]
    batch, samples = films.__getitems__(keys), default_collate([films[key] for key in keys])
    assert set(batch) == set(samples)
    assert all(torch.equal(batch[name], samples[name]) for name in samples)


def test_a_pickled_data_set_gives_the_same_samples(pack):
    copy = pickle.loads(pickle.dumps(dataset(pack)))
    assert same(copy[1, 3], dataset(pack)[1, 3])
    assert len(copy) == 10
