from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cxr14_tree import good_tree
from PIL import Image
from tiny import tiny_data

from evax.data.module import ResumeError
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source


def attach(data, *, rank=0, world_size=1, step=0):
    """What the data module asks a trainer for."""
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, global_step=step, strategy=device)
    return data


def batches_of(loader):
    return [(batch["row"], batch["image"], batch["is_masked"]) for batch in loader]


def equal(a, b) -> bool:
    return len(a) == len(b) and all(map(torch.equal, sum(a, start=()), sum(b, start=())))


@pytest.fixture(scope="module")
def whole(pack_folder):
    return tiny_data(pack_folder)


def test_train_rows_are_the_packs_train_split(whole):
    assert set(whole.pack.split("official")[whole.train_rows]) == {"train"}
    assert len(whole.train_rows) == 44


def test_several_splits_can_train(pack_folder):
    assert len(tiny_data(pack_folder, fit_on=("train", "val")).train_rows) == 54


def test_training_patients_that_look_like_others_can_be_left_out(tmp_path):
    tree = good_tree(tmp_path / "raw", patients=9, films=1)
    Image.open(tree.root / "images/00001008_000.png").save(tmp_path / "copy.jpg", quality=80)
    (tmp_path / "copy.jpg").rename(tree.root / "images/00001000_000.png")  # a test film in train or val
    report = prepare(ChestXray14Source(tree.write()), tmp_path / "pack", size=80, workers=0)
    assert (report.near_duplicates, report.crossing_near_duplicates) == (1, 1)
    both = {"fit_on": ("train", "val"), "batch_size": 1}
    assert tiny_data(tmp_path / "pack", **both).train_rows.tolist() == list(range(6))
    assert tiny_data(tmp_path / "pack", near_duplicates="exclude", **both).train_rows.tolist() == list(range(1, 6))


def test_the_gate_has_compared_with_the_test_split(whole):
    assert (whole.gate["passed"], whole.gate["checked"]) == (True, ["phantom/official/test"])


def test_fractions_are_nested_and_take_whole_patients(pack_folder, whole):
    patients = whole.pack.patient_ids
    previous = set()
    for fraction in (0.05, 0.1, 0.5, 1.0):
        rows = tiny_data(pack_folder, fraction=fraction).train_rows
        chosen = set(patients[rows])
        assert len(chosen) == max(1, round(fraction * 22))
        assert set(rows) == {row for row in whole.train_rows if patients[row] in chosen}
        assert previous <= set(rows)
        previous = set(rows)


def test_another_seed_chooses_other_patients(pack_folder):
    rows = [tuple(tiny_data(pack_folder, fraction=0.5, seed=seed).train_rows) for seed in (7, 8)]
    assert rows[0] != rows[1]


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5])
def test_a_fraction_outside_zero_to_one_is_refused(pack_folder, fraction):
    with pytest.raises(ValueError, match=r"data\.fraction=.*must be in \(0, 1\]"):
        tiny_data(pack_folder, fraction=fraction)


def test_an_image_size_off_the_patch_grid_is_refused(pack_folder):
    with pytest.raises(ValueError, match="image_size=60 is not a multiple of the patch size 16"):
        tiny_data(pack_folder, image_size=60)


def test_a_split_without_films_is_named(whole):
    with pytest.raises(ValueError, match=r"data\.split=official has no films in holdout"):
        whole.rows("holdout")


def test_a_batch_larger_than_the_training_films_is_refused(pack_folder):
    with pytest.raises(ValueError, match="batch_size=45 is larger than the 44 training films"):
        attach(tiny_data(pack_folder, batch_size=45)).train_dataloader()


def test_a_batch_that_does_not_divide_is_refused(pack_folder):
    with pytest.raises(ValueError, match="batch_size=8 does not divide"):
        tiny_data(pack_folder, per_device_batch=3).accumulation(1)


@pytest.mark.parametrize(("per_device", "world_size", "expected"), [(None, 1, 1), (None, 4, 1), (2, 1, 4), (2, 4, 1)])
def test_accumulation_follows_from_devices(pack_folder, per_device, world_size, expected):
    assert tiny_data(pack_folder, per_device_batch=per_device).accumulation(world_size) == expected


def test_steps_per_epoch_drop_the_incomplete_batch(whole):
    assert whole.steps_per_epoch == 5


def test_ranks_share_out_the_same_samples(pack_folder, whole):
    attach(whole)
    alone = batches_of(whole.train_dataloader())
    ranks = [batches_of(attach(tiny_data(pack_folder), rank=rank, world_size=2).train_dataloader()) for rank in (0, 1)]
    together = [tuple(map(torch.cat, zip(a, b, strict=True))) for a, b in zip(*ranks, strict=True)]
    assert equal(together, alone)


def test_training_goes_on_from_the_trainers_step(pack_folder, whole):
    alone = batches_of(attach(whole).train_dataloader())
    assert equal(batches_of(attach(tiny_data(pack_folder), step=3).train_dataloader()), alone[3:])


def test_workers_change_nothing(pack_folder, whole):
    alone = batches_of(attach(whole).train_dataloader())
    assert equal(batches_of(attach(tiny_data(pack_folder, num_workers=2)).train_dataloader()), alone)


def test_validation_reads_whole_films_in_order_with_fixed_masks(whole):
    attach(whole)
    first, second = batches_of(whole.val_dataloader()), batches_of(whole.val_dataloader())
    rows = torch.cat([row for row, _, _ in first])
    assert equal(first, second)
    assert rows.tolist() == whole.rows("val").tolist()
    assert np.array_equal(first[0][1][0, 0].numpy(), whole.pack.image(int(rows[0])))


def test_the_local_loader_gives_every_sample_to_every_rank(pack_folder):
    data = attach(tiny_data(pack_folder), rank=1, world_size=2)
    rows = torch.cat([batch["row"] for batch in data.local_loader(data.dataset(data.rows("val")))])
    assert rows.tolist() == data.rows("val").tolist()


def test_the_state_is_accepted_by_an_equal_run(pack_folder, whole):
    tiny_data(pack_folder).load_state_dict(whole.state_dict())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 8}, "seed=7, but the run now has 8"),
        ({"batch_size": 4}, "batch_size=8, but the run now has 4"),
        ({"fit_on": ("train", "val")}, "num_films=44, but the run now has 54"),
    ],
)
def test_a_resume_with_other_samples_is_refused(pack_folder, whole, changed, message):
    with pytest.raises(ResumeError, match=f"{message}.*weights=RUN_DIR"):
        tiny_data(pack_folder, **changed).load_state_dict(whole.state_dict())


def test_a_resume_with_another_pack_is_refused(whole):
    with pytest.raises(ResumeError, match="pack_digest=another"):
        whole.load_state_dict(whole.state_dict() | {"pack_digest": "another"})


def test_the_state_names_nobody(whole):
    text = repr(whole.state_dict())
    assert not any(name in text for name in (whole.pack.patient_ids[0], whole.pack.image_ids[0]))
