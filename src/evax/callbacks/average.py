"""An average of the weights over the steps of a training."""

from functools import partial

import torch
from jaxtyping import Int, Shaped
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):
    """Exponential moving average of weights and buffers after every step; it is validated, kept as best and exported.

    After n averaged steps the decay is min(`decay`, (1 + n) / (10 + n)), TensorFlow's rule for
    `ExponentialMovingAverage`: so a short training forgets its first weights, of which 0.999^n would stay.
    """

    def __init__(self, *, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"callbacks.ema.decay={decay} must lie between 0 and 1")
        super().__init__(avg_fn=partial(blend, decay=decay))


def blend(
    average: Shaped[Tensor, "*S"], current: Shaped[Tensor, "*S"], num_averaged: Int[Tensor, ""], *, decay: float
) -> Shaped[Tensor, "*S"]:
    """The average with one more step in it; `num_averaged` counts those that it holds."""
    held = torch.clamp((1 + num_averaged) / (10 + num_averaged), max=decay)
    return held * average + (1 - held) * current
