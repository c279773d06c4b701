"""A pack's films as samples: uint8 pixels, the row they come from, and a mask where the task hides patches."""

from collections.abc import Callable
from typing import NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from evax.data.keyed_random import Stream, keyed_generator
from evax.data.pack import Pack
from evax.data.sampler import Key
from evax.data.transforms import RandomCropFlip, resize

Masking = Callable[[np.random.Generator, tuple[int, int]], Bool[np.ndarray, "N"]]


class Sample(TypedDict):
    """One film; a batch has the same keys with a leading B."""

    image: Tensor  # uint8 (1, S, S), grey
    row: int  # row of the pack's index
    is_masked: NotRequired[Tensor]  # bool (N,), row order, True = hidden


class PackDataset(Dataset[Sample]):
    """Samples of some rows of a pack, at one size.

    Fetched by (epoch, position); crop and mask are drawn from generators keyed by (seed, epoch, row), so they
    depend on nothing else. Without `crop` the whole film is resized; without `masking` there is no mask.
    """

    def __init__(
        self,
        pack: Pack,
        rows: Int[np.ndarray, "R"],
        *,
        size: int,
        seed: int,
        crop: RandomCropFlip | None = None,
        masking: Masking | None = None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        self.pack, self.rows, self.size, self.seed = pack, rows, size, seed
        self.crop, self.masking, self.grid = crop, masking, grid

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Key) -> Sample:
        epoch, position = key
        row = int(self.rows[position])
        image = self.pack.image(row)
        if self.crop is None:
            image = resize(image, self.size)
        else:
            image = self.crop(image, keyed_generator(self.seed, Stream.AUGMENT, epoch=epoch, index=row))
        sample = Sample(image=torch.from_numpy(image)[None], row=row)
        if self.masking is not None and self.grid is not None:
            generator = keyed_generator(self.seed, Stream.MASK, epoch=epoch, index=row)
            sample["is_masked"] = torch.from_numpy(self.masking(generator, self.grid))
        return sample
