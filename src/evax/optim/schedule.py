"""Learning rates as pure functions of the optimizer step, so that a resume cannot shift them."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    """Linear from 0 at step 0 to `peak` at `warmup_steps`, then half a cosine to `final` at `total_steps`."""

    peak: float
    warmup_steps: int
    total_steps: int
    final: float

    def __post_init__(self) -> None:
        if not 0 <= self.final <= self.peak:
            raise ValueError(f"optim.final_lr is {self.final}, but must be in [0, optim.lr = {self.peak}]")
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                f"optim.warmup_epochs makes {self.warmup_steps} steps, but must make between 0 and "
                f"{self.total_steps - 1}: train longer or warm up for less"
            )

    def __call__(self, step: int) -> float:
        """Learning rate of the update that follows `step` completed updates; `final` after the last one."""
        if step < self.warmup_steps:
            return self.peak * step / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return self.final + (self.peak - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class WarmupPolynomial:
    """(1 - epoch / `epochs`) ** `power` between `peak` and `final`, constant within an epoch, with a warm-up.

    Over the first `warmup_steps` the rate is multiplied by a line from `warmup_ratio` to 1. This is the `poly` policy
    of mmcv with `by_epoch=True`, `warmup="linear"` and `warmup_by_epoch=False`.
    """

    peak: float
    warmup_steps: int
    warmup_ratio: float
    steps_per_epoch: int
    epochs: int
    final: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        if self.warmup_steps < 0 or not 0 <= self.warmup_ratio <= 1:
            raise ValueError(
                f"optim.warmup_steps={self.warmup_steps} must be at least 0, and optim.warmup_ratio="
                f"{self.warmup_ratio} from 0 to 1"
            )
        if self.power <= 0:
            raise ValueError(f"optim.power={self.power} must be above 0")

    def __call__(self, step: int) -> float:
        """Learning rate of the update that follows `step` completed updates; `final` after the last one."""
        left = max(0.0, 1 - (step // self.steps_per_epoch) / self.epochs)
        rate = self.final + (self.peak - self.final) * left**self.power
        if step >= self.warmup_steps:
            return rate
        return rate * (self.warmup_ratio + (1 - self.warmup_ratio) * step / self.warmup_steps)
