"""Which samples a rank sees, in what order: a pure function of seed, epoch and optimizer step."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from evax.data.keyed_random import Stream, keyed_generator

Key = tuple[int, int]  # (epoch, position in the data set): all that a sample's draws depend on, beside the seed


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
        for step in range(self.first_step, self.steps_per_epoch):
            start = step * self.global_batch + self.rank * self.share
            for first in range(start, start + self.share, self.micro_batch):
                yield [(self.epoch, int(position)) for position in order[first : first + self.micro_batch]]


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


def accumulation(global_batch: int, per_device_batch: int, world_size: int) -> int:
    """Micro-batches per optimizer step. Raises ValueError where the global batch does not divide."""
    together = per_device_batch * world_size
    if global_batch % together:
        raise ValueError(
            f"batch_size={global_batch} does not divide into {world_size} devices x per_device_batch="
            f"{per_device_batch}; choose a multiple of {together}, or change per_device_batch"
        )
    return global_batch // together
