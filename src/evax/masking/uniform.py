"""Uniform random masking: what the EVA-X paper's text describes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from evax.masking.base import Masking


@dataclass(frozen=True)
class UniformMasking(Masking):
    """Hides exactly `num_hidden` cells, every set of that size equally likely."""

    def __call__(self, rng: np.random.Generator, grid: tuple[int, int]) -> Bool[np.ndarray, " cells"]:
        """Hidden cells (True) in row order."""
        num_cells = grid[0] * grid[1]
        is_masked = np.zeros(num_cells, dtype=bool)
        is_masked[rng.permutation(num_cells)[: self.num_hidden(grid)]] = True
        return is_masked
