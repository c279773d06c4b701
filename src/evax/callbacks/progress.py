"""The progress bar: images per second beside Lightning's steps and time left."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """Lightning's rich bar with train loss and images per second over all devices."""

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=False)
        self._since, self._images = time.perf_counter(), 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count anew, so that validation and figures do not slow the figure down."""
        super().on_train_epoch_start(trainer, pl_module)
        self._since, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of all ranks."""
        self._images += len(batch["image"]) * trainer.world_size
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What stands at the right of the bar."""
        speed = self._images / max(time.perf_counter() - self._since, 1e-9)
        latest = getattr(pl_module, "latest", {})
        shown = ("train/loss", "val/cosine_excess", "val/auroc_macro")
        metrics = {name: f"{latest[name]:.3f}" for name in shown if name in latest}
        return metrics | {"images/s": f"{speed:.0f}"}
