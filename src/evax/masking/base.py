"""The contract of a masking strategy."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Masking(ABC):
    """Draws which cells of one sample's patch grid are hidden; `ratio` is the hidden share, in [0, 1)."""

    ratio: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise ValueError(f"masking.ratio is {self.ratio}, but the hidden share must be in [0, 1)")

    def num_hidden(self, grid: tuple[int, int]) -> int:
        """How many cells of a (rows, cols) grid `ratio` asks for: 59 of 14 × 14 at 0.3."""
        return round(self.ratio * grid[0] * grid[1])

    @abstractmethod
    def __call__(self, rng: np.random.Generator, grid: tuple[int, int]) -> Bool[np.ndarray, " cells"]:
        """Hidden cells (True) of a (rows, cols) grid in row order; every draw comes from `rng`."""
