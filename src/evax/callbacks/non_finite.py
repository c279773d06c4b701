"""Stop at the first loss that is not a number, and say which batch it was."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class NonFiniteError(FloatingPointError):
    """The loss of a batch is NaN or infinite."""


class NonFiniteGuard(Callback):
    """Looks at every loss before it is propagated. Films are named by their rows in the pack, never by ids."""

    def __init__(self) -> None:
        self._rows: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember which films the loss will be of."""
        self._rows = torch.as_tensor(batch["row"]).tolist()

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Raise NonFiniteError naming step and rows."""
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"the loss is {loss.item()} at step {trainer.global_step + 1} (epoch {trainer.current_epoch}), "
                f"pack rows {self._rows}; look at these films, or lower optim.lr or set trainer.precision=32-true"
            )
