"""Block-wise masking: the generator of BEiT (Bao et al. 2022, algorithm 1) with the settings of EVA-02."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from evax.masking.base import Masking

TRIES = 10  # rectangles drawn before a round counts as failed


@dataclass(frozen=True)
class BlockwiseMasking(Masking):
    """Hides rectangles until `num_hidden` cells are covered or a round of tries adds nothing.

    A rectangle's area is uniform between `min_block` and the cells still to hide; its aspect (height
    over width) is log-uniform in `aspect`. Near the end fewer than `min_block` cells are left, so that most
    rectangles are too large and about a third of the masks stop a few cells short. `topup` fills these with
    single random cells: every sample then hides the same number.
    """

    topup: bool = True
    min_block: int = 16
    aspect: Sequence[float] = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_block < 1:
            raise ValueError(f"masking.min_block is {self.min_block}, but a block has at least 1 cell")
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"masking.aspect is {self.aspect}, but must be [low, high] with 0 < low <= high")

    def __call__(self, rng: np.random.Generator, grid: tuple[int, int]) -> Bool[np.ndarray, " cells"]:
        """Hidden cells (True) in row order."""
        is_masked = np.zeros(grid, dtype=bool)
        remaining = self.num_hidden(grid)
        while remaining > 0:
            num_new = self._hide_block(rng, is_masked, remaining)
            if num_new == 0:
                break
            remaining -= num_new
        flat = is_masked.reshape(-1)
        if self.topup and remaining > 0:
            flat[rng.permutation(np.flatnonzero(~flat))[:remaining]] = True
        return flat

    def _hide_block(self, rng: np.random.Generator, is_masked: Bool[np.ndarray, "rows cols"], remaining: int) -> int:
        """Hide one rectangle in `is_masked` and return its number of new cells; 0 when every try failed."""
        rows, cols = is_masked.shape
        low, high = math.log(self.aspect[0]), math.log(self.aspect[1])
        for area_unit, aspect_unit, top_unit, left_unit in rng.random((TRIES, 4)).tolist():
            area = self.min_block + (remaining - self.min_block) * area_unit  # either end may be the larger
            aspect = math.exp(low + (high - low) * aspect_unit)
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height >= rows or width >= cols:
                continue
            top, left = int(top_unit * (rows - height + 1)), int(left_unit * (cols - width + 1))
            block = is_masked[top : top + height, left : left + width]
            num_new = block.size - int(np.count_nonzero(block))
            if 0 < num_new <= remaining:
                block[:] = True
                return num_new
        return 0
