from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cxr14_tree import good_tree
from PIL import Image
from tiny import tiny_data

from evax.data.checks import ResumeError
from evax.data.labels import LabelPolicy
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.subset import rarest


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


def test_without_masking_the_patch_grid_is_the_tasks_to_check(pack_folder):
    assert tiny_data(pack_folder, image_size=70, masking=None).image_size == 70


def test_a_split_without_films_is_named(whole):
    with pytest.raises(ValueError, match=r"data\.split=official has no images in holdout"):
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


def classified(pack_folder, **settings):
    """Films with labels, in batches of 8, no mask."""
    return tiny_data(pack_folder, masking=None, labels=LabelPolicy(), **settings)


def test_a_fraction_of_labelled_films_is_nested_whole_and_keeps_the_findings(pack_folder):
    whole = classified(pack_folder)
    rows = [classified(pack_folder, fraction=fraction, batch_size=1).train_rows for fraction in (0.2, 0.5)]
    assert set(rows[0]) < set(rows[1]) < set(whole.train_rows)
    patients = [set(whole.pack.patients[part].tolist()) for part in rows]
    assert [len(part) for part in patients] == [4, 11]
    assert set(rows[1]) == {row for row in whole.train_rows if whole.pack.patients[row] in patients[1]}
    shares = [whole.targets_of(part).targets.mean(axis=0) for part in (rows[1], whole.train_rows)]
    assert np.abs(shares[0] - shares[1]).max() <= 0.1


def test_runs_with_several_seeds_may_train_on_the_same_films(pack_folder):
    def rows(seed, **settings):
        return classified(pack_folder, fraction=0.5, seed=seed, **settings).train_rows.tolist()

    assert rows(1) != rows(2)
    assert rows(1, fraction_seed=5) == rows(2, fraction_seed=5) != rows(1)
    assert rows(1) == rows(2, fraction_seed=1)


def test_a_fraction_of_films_is_the_published_draw(pack_folder, whole):
    data = classified(pack_folder, fraction=0.3, fraction_of="films")
    assert len(data.train_rows) == int(0.3 * 44)
    assert set(data.train_rows) < set(whole.train_rows)
    patients = whole.pack.patients
    outside = set(patients[whole.train_rows]) - set(patients[data.train_rows])
    assert len(outside) < 22 - 0.3 * 22  # films of one patient are on both sides


def test_an_epoch_of_a_fraction_can_be_as_long_as_one_of_all_films(pack_folder):
    data = classified(pack_folder, fraction=0.3, fraction_of="films", keep_epoch=True)
    assert data.films_per_epoch == 44
    epoch = Counter(row for batch in batches_with_targets(data) for row in batch["row"].tolist())
    assert set(epoch) == set(data.train_rows.tolist())
    assert set(epoch.values()) <= {2, 3, 4}  # 40 of 44 draws of 13 films; the last incomplete batch is dropped


def batches_with_targets(data, **place):
    return list(attach(data, **place).train_dataloader())


def test_balanced_films_come_as_often_as_their_findings_are_rare(pack_folder):
    data = classified(pack_folder, sampling="balanced", batch_size=4)
    assert data.films_per_epoch == pytest.approx(44, abs=len(data.classes))
    shows = data.targets_of(data.train_rows).targets == 1
    stratum = dict(zip(data.train_rows.tolist(), rarest(shows).tolist(), strict=True))
    counts = Counter()
    for epoch in range(9):
        data.trainer = attach(data, step=epoch * data.steps_per_epoch).trainer
        counts.update(stratum[row] for batch in data.train_dataloader() for row in batch["row"].tolist())
    expected = 44 / len(set(stratum.values()))
    assert all(count / 9 == pytest.approx(expected, abs=1) for count in counts.values())


def test_weighted_films_are_the_same_on_two_ranks_and_after_a_resume(pack_folder):
    def data():
        return classified(pack_folder, sampling={"Mass": 3.0, "Nodule": 0.5})

    def steps(batches):
        return [batch["row"].tolist() for batch in batches]

    alone = steps(batches_with_targets(data()))
    ranks = [steps(batches_with_targets(data(), rank=rank, world_size=2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == alone
    assert steps(batches_with_targets(data(), step=3)) == alone[3:]


def test_weights_need_labels(pack_folder):
    with pytest.raises(ValueError, match=r"data\.sampling and data\.shuffle_labels need labels"):
        tiny_data(pack_folder, sampling="balanced")


def test_shuffled_labels_train_and_true_ones_are_scored(pack_folder):
    true, shuffled = classified(pack_folder), classified(pack_folder, shuffle_labels=True)
    rows, others = true.train_rows, true.rows("val", "test")
    assert not np.array_equal(shuffled.taught(rows).targets, true.taught(rows).targets)
    assert np.array_equal(shuffled.taught(rows).targets.sum(0), true.taught(rows).targets.sum(0))
    assert np.array_equal(shuffled.targets_of(others).targets, true.targets_of(others).targets)
    batch = batches_with_targets(shuffled)[0]
    assert np.array_equal(batch["target"].numpy(), shuffled.taught(batch["row"].numpy()).targets)


def test_without_augmentation_films_train_as_they_are_evaluated(pack_folder):
    data = classified(pack_folder, augment=False, resize_to=72)
    trained, evaluated = (data.dataset(data.train_rows, augment=each) for each in (True, False))
    for key in ((0, 3), (5, 3)):
        assert np.array_equal(trained[key]["image"], evaluated[0, 3]["image"])
    assert trained[0, 3]["image"].shape == evaluated[0, 3]["image"].shape == (1, data.image_size, data.image_size)


def test_without_augmentation_there_is_no_randaugment(pack_folder):
    with pytest.raises(ValueError, match=r"data\.augment=false leaves nothing to data\.randaugment=rand-m6"):
        tiny_data(pack_folder, augment=False, randaugment="rand-m6-mstd0.5-inc1")
