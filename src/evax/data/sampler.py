"""Which samples a rank sees, in what order: a pure function of seed, epoch and optimizer step."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

from evax.data.keyed_random import Stream, keyed_generator

# (round, position in the data set): all that a sample's draws depend on, beside the seed. A film's round is how often
# it came before: the epoch, unless some films come more often than others.
Key = tuple[int, int]


class ResumableBatchSampler(Sampler[list[Key]]):
    """Micro-batches of one rank, shuffled anew each epoch and resumable at any optimizer step.

    An epoch is cut into global batches; each is shared out among ranks as contiguous slices, and each slice into
    micro-batches. So the samples of optimizer step k are the same for every number of ranks, workers and
    accumulation. The last incomplete global batch is dropped.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        seed: int,
        global_batch: int,
        micro_batch: int,
        rank: int = 0,
        world_size: int = 1,
        step: int = 0,
    ) -> None:
        if num_samples < global_batch:
            raise ValueError(
                f"batch_size={global_batch} is larger than the {num_samples} training films; lower batch_size"
            )
        self.num_samples, self.seed = num_samples, seed
        self.global_batch, self.micro_batch = global_batch, micro_batch
        self.rank, self.share = rank, global_batch // world_size
        self.steps_per_epoch = num_samples // global_batch
        self.epoch, self.first_step = divmod(step, self.steps_per_epoch)
        self.sampler = self  # Lightning looks for `set_epoch` here

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of another epoch; the present one keeps its position."""
        if epoch != self.epoch:
            self.epoch, self.first_step = epoch, 0

    def __len__(self) -> int:
        """Micro-batches of a whole epoch, as Lightning counts them, wherever iteration starts."""
        return self.steps_per_epoch * (self.share // self.micro_batch)

    def __iter__(self) -> Iterator[list[Key]]:
        order = keyed_generator(self.seed, Stream.PERMUTATION, epoch=self.epoch).permutation(self.num_samples)
        keys = self.epoch_keys()[order]
        for step in range(self.first_step, self.steps_per_epoch):
            start = step * self.global_batch + self.rank * self.share
            for first in range(start, start + self.share, self.micro_batch):
                yield [(int(turn), int(position)) for turn, position in keys[first : first + self.micro_batch]]

    def epoch_keys(self) -> Int[np.ndarray, "num_samples 2"]:
        """The keys of the present epoch, before they are shuffled."""
        return np.stack([np.full(self.num_samples, self.epoch), np.arange(self.num_samples)], axis=1)


class WeightedBatchSampler(ResumableBatchSampler):
    """Batches in which each group of films comes `weight` times an epoch.

    A group is shown round after round: a weight of 1.5 ends an epoch amid a round, and the next epoch goes on there,
    so that no film is ever shown twice more than another of its group. Weights of 1 are the plain sampler.
    """

    def __init__(self, groups: Sequence[Int[np.ndarray, "_"]], weights: Sequence[float], **place: Any) -> None:
        self.groups = tuple(groups)
        self.draws = tuple(num_draws(len(group), weight) for group, weight in zip(groups, weights, strict=True))
        super().__init__(sum(self.draws), **place)

    def epoch_keys(self) -> Int[np.ndarray, "num_samples 2"]:
        """The rounds and positions of all groups, one group after another."""
        return np.concatenate([self._group_keys(number) for number in range(len(self.groups))])

    def _group_keys(self, number: int) -> Int[np.ndarray, "_ 2"]:
        group, draws = self.groups[number], self.draws[number]
        rounds, places = np.divmod(np.arange(self.epoch * draws, (self.epoch + 1) * draws), len(group))
        positions = np.empty(draws, np.int64)
        for turn in np.unique(rounds).tolist():
            generator = keyed_generator(self.seed, Stream.PERMUTATION, epoch=turn, index=number + 1)
            positions[rounds == turn] = np.sort(generator.permutation(group)[places[rounds == turn]])
        return np.stack([rounds, positions], axis=1)


def num_draws(num_films: int, weight: float) -> int:
    """How many films of a group come in an epoch; at least one."""
    if not 0 < weight < math.inf:
        raise ValueError(f"a weight of {weight} must be positive; leave a source out instead of giving it 0")
    return max(1, round(weight * num_films))


class EvaluationBatchSampler(Sampler[list[Key]]):
    """Every sample exactly once over all ranks, without padding, in order; always as of epoch 0."""

    def __init__(self, num_samples: int, *, micro_batch: int, rank: int = 0, world_size: int = 1) -> None:
        if num_samples < world_size:
            raise ValueError(f"{num_samples} films cannot be evaluated on {world_size} ranks; use fewer devices")
        self.positions = range(rank, num_samples, world_size)
        self.micro_batch = micro_batch

    def __len__(self) -> int:
        return -(-len(self.positions) // self.micro_batch)

    def __iter__(self) -> Iterator[list[Key]]:
        for first in range(0, len(self.positions), self.micro_batch):
            yield [(0, position) for position in self.positions[first : first + self.micro_batch]]
