"""Stochastic depth and dropout drawn for the global batch and sliced, so that any number of ranks drops the same."""

import numpy as np
import torch
from timm.layers import DropPath
from torch import Tensor, nn


class GlobalDropPath(DropPath):
    """timm's DropPath that can be handed the factors of the present samples instead of drawing them.

    Without factors (`factors is None`) it draws from torch's generator like its parent.
    """

    factors: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Scale each sample's residual (B, ...) by its factor: 0, or 1 / keep probability."""
        if not self.training or self.factors is None:
            return super().forward(x)
        if len(self.factors) != len(x):
            raise ValueError(f"drop path was drawn for {len(self.factors)} samples, but the batch has {len(x)}")
        return x * self.factors.to(x).view(-1, *[1] * (x.ndim - 1))


class GlobalDropout(nn.Module):
    """Dropout of features (B, D), or of whole maps (B, D, H, W).

    It can be handed the factors of the present samples, as `GlobalDropPath` can.
    """

    factors: Tensor | None = None

    def __init__(self, drop_prob: float, width: int) -> None:
        super().__init__()
        self.drop_prob, self.width = drop_prob, width

    def forward(self, x: Tensor) -> Tensor:
        """Scale every feature or map by its factor: 0, or 1 / keep probability."""
        if not self.training or self.drop_prob == 0:
            return x
        if self.factors is None:
            drop = nn.functional.dropout2d if x.ndim == 4 else nn.functional.dropout
            return drop(x, self.drop_prob)
        if len(self.factors) != len(x):
            raise ValueError(f"dropout was drawn for {len(self.factors)} samples, but the batch has {len(x)}")
        return x * self.factors.to(x).view(*self.factors.shape, *[1] * (x.ndim - self.factors.ndim))


def replace_drop_path(model: nn.Module) -> None:
    """Turn every DropPath of a model into a GlobalDropPath, in place."""
    for module in model.modules():
        if type(module) is DropPath:
            module.__class__ = GlobalDropPath


def draw_drop_path(model: nn.Module, generator: np.random.Generator, global_batch: int, rows: slice) -> None:
    """Draw every layer's drops for `global_batch` samples and keep those of `rows` (this rank's micro-batch)."""
    for module in model.modules():
        if isinstance(module, GlobalDropPath) or (isinstance(module, GlobalDropout) and module.drop_prob > 0):
            keep = 1.0 - module.drop_prob
            shape = (global_batch, module.width) if isinstance(module, GlobalDropout) else global_batch
            factors = (generator.random(shape) < keep) / keep
            module.factors = torch.from_numpy(factors[rows])
