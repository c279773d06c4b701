"""A pack's films as samples: uint8 pixels, the row they come from, and a mask where the task hides patches."""

from collections.abc import Callable, Sequence
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from evax.data.keyed_random import Stream, keyed_generator
from evax.data.labels import Targets
from evax.data.masks import MaskPolicy
from evax.data.pack import Pack
from evax.data.paired import Pair, PairedAugment, resize_mask
from evax.data.sampler import Key
from evax.data.transforms import Augment, middle_of, resize

Masking = Callable[[np.random.Generator, tuple[int, int]], Bool[np.ndarray, "N"]]


class Sample(TypedDict):
    """One film."""

    image: Tensor  # uint8 (1, S, S), grey
    row: int  # row of the pack's index
    mask: NotRequired[Tensor]  # uint8 (1, S, S), 0 background, k + 1 the k-th class
    is_masked: NotRequired[Tensor]  # bool (N,), row order, True = hidden
    target: NotRequired[Tensor]  # float32 (C,), 1 present, 0 absent or unknown
    is_known: NotRequired[Tensor]  # bool (C,)


class Batch(TypedDict):
    """Several films."""

    image: Tensor  # uint8 (B, 1, S, S), grey
    row: Tensor  # int64 (B,), rows of the pack's index
    mask: NotRequired[Tensor]  # uint8 (B, 1, S, S), 0 background, k + 1 the k-th class
    is_masked: NotRequired[Tensor]  # bool (B, N), row order, True = hidden
    target: NotRequired[Tensor]  # float32 (B, C), 1 present, 0 absent or unknown
    is_known: NotRequired[Tensor]  # bool (B, C)


class PackDataset(Dataset[Sample]):
    """Samples of some rows of a pack, at one size.

    Fetched by (epoch, position); crop and mask are drawn from generators keyed by (seed, epoch, row), so they
    depend on nothing else. Without `augment` the whole film is resized, or, where `resize_to` (pixels) says so, the
    middle is cut from it at that size. Without `masking` no patch is hidden, without `targets` (of every row of the
    pack) there is no label. With `masks` samples have the film's classes too, in step with it.
    """

    def __init__(
        self,
        pack: Pack,
        rows: Int[np.ndarray, "R"],
        *,
        size: int,
        seed: int,
        augment: Augment | PairedAugment | None = None,
        resize_to: int | None = None,
        masking: Masking | None = None,
        grid: tuple[int, int] | None = None,
        targets: Targets | None = None,
        masks: MaskPolicy | None = None,
    ) -> None:
        self.pack, self.rows, self.size, self.seed = pack, rows, size, seed
        self.augment, self.resize_to = augment, resize_to
        self.masking, self.grid, self.targets, self.masks = masking, grid, targets, masks

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> Sample:
        batch: dict[str, Any] = dict(self.__getitems__([key]))
        first = {name: values[0] for name, values in batch.items()}
        return cast("Sample", first | {"row": int(first["row"])})

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A batch at once, for loaders with `collate_fn=as_it_is`: each film is copied to where it stays, and no more.

        Collating samples would touch the memory of every film twice, which costs a third of all the rest.
        """
        rows = [int(self.rows[position]) for _, position in keys]
        image = np.empty((len(keys), 1, self.size, self.size), np.uint8)
        mask = np.empty_like(image) if self.masks is not None else None
        for place, ((epoch, _), row) in enumerate(zip(keys, rows, strict=True)):
            if mask is None:
                image[place, 0] = self._pixels(epoch, row)
            else:
                image[place, 0], mask[place, 0], _ = self._pair(epoch, row)
        batch = Batch(image=torch.from_numpy(image), row=torch.tensor(rows))
        if mask is not None:
            batch["mask"] = torch.from_numpy(mask)
        if self.masking is not None and self.grid is not None:
            hidden = [self._hidden(epoch, row) for (epoch, _), row in zip(keys, rows, strict=True)]
            batch["is_masked"] = torch.from_numpy(np.stack(hidden))
        if self.targets is not None:
            batch["target"], batch["is_known"] = (torch.from_numpy(each[rows]) for each in self.targets)
        return batch

    def _pixels(self, epoch: int, row: int) -> UInt8[np.ndarray, "S S"]:
        film = self.pack.film(row)
        if self.augment is not None:
            assert not isinstance(self.augment, PairedAugment)
            return self.augment(film, keyed_generator(self.seed, Stream.AUGMENT, epoch=epoch, index=row))
        if self.resize_to is not None:
            return middle_of(resize(film, self.resize_to), self.size)
        return resize(film, self.size)

    def _pair(self, epoch: int, row: int) -> Pair:
        assert self.masks is not None
        pair = Pair(self.pack.film(row), self.masks.of_film(self.pack, row))
        if self.augment is None:
            return Pair(resize(pair.image, self.size), resize_mask(pair.mask, self.size))
        assert isinstance(self.augment, PairedAugment)
        return self.augment(pair, keyed_generator(self.seed, Stream.AUGMENT, epoch=epoch, index=row))

    def _hidden(self, epoch: int, row: int) -> Bool[np.ndarray, "N"]:
        assert self.masking is not None
        assert self.grid is not None
        return self.masking(keyed_generator(self.seed, Stream.MASK, epoch=epoch, index=row), self.grid)


def as_it_is(batch: Batch) -> Batch:
    """What a loader does to batches that `PackDataset` has put together."""
    return batch
