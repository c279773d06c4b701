from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from evax.data.sampler import (
    EvaluationBatchSampler,
    ResumableBatchSampler,
    WeightedBatchSampler,
    num_draws,
)

NUM_SAMPLES, BATCH = 45, 8


def sampler(**settings):
    chosen = {"seed": 3, "global_batch": BATCH, "micro_batch": BATCH} | settings
    return ResumableBatchSampler(NUM_SAMPLES, **chosen)


def global_batches(world_size, micro_batch, step=0):
    """The keys of every optimizer step, put together from ranks and micro-batches."""
    share = BATCH // world_size
    ranks = []
    for rank in range(world_size):
        micro = list(sampler(micro_batch=micro_batch, rank=rank, world_size=world_size, step=step))
        keys = [key for batch in micro for key in batch]
        ranks.append([keys[first : first + share] for first in range(0, len(keys), share)])
    return [list(chain(*parts)) for parts in zip(*ranks, strict=True)]


@pytest.mark.parametrize(("world_size", "micro_batch"), [(1, 2), (1, 4), (2, 4), (2, 1), (4, 2), (4, 1), (8, 1)])
def test_ranks_and_micro_batches_make_up_the_same_global_batches(world_size, micro_batch):
    assert global_batches(world_size, micro_batch) == list(sampler())


def test_an_epoch_is_a_permutation_without_the_incomplete_batch():
    keys = [key for batch in sampler() for key in batch]
    assert {epoch for epoch, _ in keys} == {0}
    positions = [position for _, position in keys]
    assert len(set(positions)) == len(positions) == NUM_SAMPLES // BATCH * BATCH
    assert positions != sorted(positions)


@pytest.mark.parametrize("step", range(11))
@pytest.mark.parametrize("world_size", [1, 2])
def test_resume_at_any_step_gives_the_tail(step, world_size):
    whole = []
    for epoch in range(3):
        resumed = sampler()
        resumed.set_epoch(epoch)
        whole += resumed
    steps_per_epoch = NUM_SAMPLES // BATCH
    tail = global_batches(world_size, 2, step)
    end = (step // steps_per_epoch + 1) * steps_per_epoch
    assert tail == whole[step:end]


def test_the_present_epoch_keeps_its_position():
    resumed = sampler(step=7)  # the third step of epoch 1
    resumed.set_epoch(1)
    assert len(list(resumed)) == 3
    resumed.set_epoch(2)
    assert len(list(resumed)) == 5


def test_every_epoch_has_another_order():
    orders = []
    for epoch in range(3):
        one = sampler()
        one.set_epoch(epoch)
        orders.append(tuple(position for batch in one for _, position in batch))
    assert len(set(orders)) == 3


def test_seeds_have_other_orders():
    assert list(sampler(seed=3)) != list(sampler(seed=4))


def test_iterating_twice_gives_the_same():
    one = sampler(step=2)
    assert list(one) == list(one)


def test_length_counts_whole_epochs_wherever_iteration_starts():
    assert len(sampler(micro_batch=2, rank=1, world_size=2, step=3)) == 5 * 2


def test_a_loader_passes_keys_to_the_data_set():
    class Keys(torch.utils.data.Dataset):
        def __getitem__(self, key):
            return torch.tensor(key)

    batches = [list(map(tuple, batch.tolist())) for batch in DataLoader(Keys(), batch_sampler=sampler())]
    assert batches == list(sampler())


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch_size=46 is larger than the 45 training films; lower batch_size"):
        sampler(global_batch=46)


@pytest.mark.parametrize("num_samples", [3, 7, 12, 13])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_evaluation_covers_every_sample_once(num_samples, world_size, micro_batch):
    seen = Counter()
    for rank in range(world_size):
        one = EvaluationBatchSampler(num_samples, micro_batch=micro_batch, rank=rank, world_size=world_size)
        batches = list(one)
        assert len(batches) == len(one)
        assert all(0 < len(batch) <= micro_batch for batch in batches)
        seen.update(key for batch in batches for key in batch)
    assert seen == {(0, position): 1 for position in range(num_samples)}


def test_evaluation_on_one_rank_is_in_order():
    assert list(EvaluationBatchSampler(5, micro_batch=2)) == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]


def test_evaluation_refuses_a_rank_without_films():
    with pytest.raises(ValueError, match="2 films cannot be evaluated on 3 ranks"):
        EvaluationBatchSampler(2, micro_batch=1, world_size=3)


GROUPS = [np.arange(0, 20), np.arange(20, 30), np.arange(30, 45)]


def weighted(*weights, **settings):
    chosen = {"seed": 3, "global_batch": 5, "micro_batch": 5} | settings
    return WeightedBatchSampler(GROUPS, weights, **chosen)


def keys_of_epoch(sampler, epoch):
    sampler.set_epoch(epoch)
    return [key for batch in sampler for key in batch]


def test_weights_of_one_are_the_plain_sampler():
    plain = ResumableBatchSampler(NUM_SAMPLES, seed=3, global_batch=5, micro_batch=5)
    for epoch in range(3):
        assert keys_of_epoch(weighted(1.0, 1.0, 1.0), epoch) == keys_of_epoch(plain, epoch)


def test_each_group_comes_as_often_as_its_weight_says():
    keys = keys_of_epoch(weighted(0.5, 2.0, 1.0), 0)
    assert [sum(position in group for _, position in keys) for group in GROUPS] == [10, 20, 15]
    assert Counter(position for _, position in keys if position in GROUPS[1]) == dict.fromkeys(range(20, 30), 2)


def test_no_film_comes_twice_more_than_another_of_its_group():
    sampler, seen = weighted(0.5, 2.5, 1.0, global_batch=1, micro_batch=1), Counter()
    for epoch in range(7):
        seen.update(position for _, position in keys_of_epoch(sampler, epoch))
        for group in GROUPS:
            counts = [seen[position] for position in group]
            assert max(counts) - min(counts) <= 1
    assert sum(seen[position] for position in GROUPS[1]) == 7 * 25


def test_a_film_never_has_the_same_key_twice():
    sampler = weighted(0.3, 2.5, 1.7, global_batch=1, micro_batch=1)
    keys = [key for epoch in range(5) for key in keys_of_epoch(sampler, epoch)]
    assert len(set(keys)) == len(keys)


def test_half_of_a_group_is_another_half_for_another_seed():
    first, second = ({p for _, p in keys_of_epoch(weighted(0.5, 1.0, 1.0, seed=seed), 0) if p < 20} for seed in (3, 4))
    assert len(first) == len(second) == 10
    assert first != second


@pytest.mark.parametrize("step", [0, 1, 7, 9, 13])
def test_weighted_epochs_resume_at_any_step_on_any_ranks(step):
    sampler = weighted(0.5, 2.5, 1.0, global_batch=8, micro_batch=8)
    whole = [key for epoch in range(3) for key in keys_of_epoch(sampler, epoch)]
    steps = sampler.steps_per_epoch
    settings = {"global_batch": 8, "micro_batch": 2, "world_size": 2, "step": step}
    ranks = [iter(weighted(0.5, 2.5, 1.0, rank=rank, **settings)) for rank in (0, 1)]
    resumed = []
    while batch := [key for rank in ranks for _ in range(2) for key in next(rank, [])]:
        resumed += batch
    assert resumed == whole[8 * step : 8 * steps * (step // steps + 1)]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_must_be_positive(weight):
    with pytest.raises(ValueError, match="must be positive"):
        num_draws(10, weight)
