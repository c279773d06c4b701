"""When to write a checkpoint and which to keep; how is the business of `evax.checkpoints.files`."""

import logging
import math
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from evax.checkpoints.atomic import CheckpointWriteError
from evax.checkpoints.files import has_room, prune, read_checkpoint, step_file, write_checkpoint
from evax.checkpoints.index import Entry, record
from evax.checkpoints.weight_files import BEST, CHECKPOINTS

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's door to checkpoint files: atomic writes, CRC-checked reads, plain types only.

    Only rank 0 writes, and all ranks meet right after it; so a failed write is kept in `failure` until they have
    met, for Checkpointing to raise on every rank alike.
    """

    failure: CheckpointWriteError | None = None
    sha256 = ""  # of the file written last

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write atomically; a failure leaves the old file and is kept in `failure`."""
        try:
            self.sha256 = write_checkpoint(checkpoint, path)
            self.failure = None
        except CheckpointWriteError as error:
            self.failure = error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read with checks; damaged or unsafe files are refused by name."""
        return read_checkpoint(path)


class Checkpointing(Checkpoint):
    """Writes `checkpoints/step-000123.ckpt` (the newest `keep` stay), `best.ckpt` and `checkpoints/index.json`.

    A step file is written every `every_n_steps` optimizer steps, after every `every_n_epochs`-th epoch, and where
    another callback stops the run amid one; `best` follows the validation metric `monitor`. Nothing outside the run
    directory is ever touched. A failed write keeps what was there and is tolerated `max_failures` times in a row.
    """

    def __init__(
        self,
        *,
        monitor: str,
        maximise: bool = True,
        every_n_steps: int | None = None,
        every_n_epochs: int = 1,
        keep: int = 3,
        max_failures: int = 3,
    ) -> None:
        if keep < 1:
            raise ValueError(f"callbacks.checkpointing.keep={keep} must be at least 1")
        self.monitor, self.sign = monitor, 1 if maximise else -1
        self.every_n_steps, self.every_n_epochs, self.keep = every_n_steps, every_n_epochs, keep
        self.max_failures, self.failures = max_failures, 0
        self.best: float | None = None
        self.saved_step, self._has_validated = -1, False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the run directory from the trainer."""
        self.run_dir = Path(trainer.default_root_dir)
        self.folder = self.run_dir / CHECKPOINTS

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to start on a disk that cannot hold the kept checkpoints (weights, average, two moments)."""
        num_bytes = 4 * sum(p.numel() * p.element_size() for p in pl_module.parameters())
        copies = self.keep + 2 if trainer.global_step == 0 else 1  # beside them best.ckpt, and one being written
        if not has_room(self.folder, num_bytes, copies - 1):
            raise CheckpointWriteError(
                f"{self.run_dir} has no room for {copies} checkpoints of {num_bytes / 1e6:.0f} MB; "
                "free space, or set paths.runs to another disk"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What a run starts from needs no saving."""
        self.saved_step = trainer.global_step
        self.on_train_epoch_start(trainer, pl_module)  # which a resume inside an epoch does not have

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have the last epoch validated, wherever it falls between those of `check_val_every_n_epoch`."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save inside an epoch, at optimizer steps; the last step waits for validation."""
        is_due = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        is_due |= trainer.should_stop
        has_stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if is_due and has_stepped and not trainer.is_last_batch:
            self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The monitored metric is fresh."""
        self._has_validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after validation, and keep the best; nothing where the epoch was cut short."""
        if trainer.fit_loop.epoch_loop.batch_progress.current.ready < trainer.num_training_batches:
            return
        metric = trainer.callback_metrics.get(self.monitor)
        if self._has_validated and metric is None:
            raise ValueError(
                f"callbacks.checkpointing.monitor={self.monitor} was not recorded; "
                f"choose one of {', '.join(sorted(trainer.callback_metrics))}"
            )
        value = float(metric) if self._has_validated else None
        self._has_validated = False
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        is_best = value is not None and self._is_better(value)
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0 or is_last or is_best:
            self.save(trainer, value, is_best=is_best)

    def _is_better(self, metric: float) -> bool:
        return math.isfinite(metric) and (self.best is None or self.sign * metric > self.sign * self.best)

    def save(self, trainer: Trainer, metric: float | None = None, *, is_best: bool = False) -> None:
        """Write the step file now, on all ranks together; before it `best.ckpt`, if `metric` is the best so far.

        In this order a kill in between costs nothing: the step is taken again, and both files are written again.
        """
        step, former = trainer.global_step, self.best
        try:
            if is_best:
                self.best = metric
                self._write(trainer, self.run_dir / BEST, step, metric)
            self._write(trainer, self.folder / step_file(step), step, metric)
            self.saved_step, self.failures = step, 0
        except CheckpointWriteError as error:
            self.best = former
            self.failures += 1
            log.warning("%s (%d of %d tolerated in a row)", error, self.failures, self.max_failures)
            if self.failures > self.max_failures:
                raise

    def _write(self, trainer: Trainer, path: Path, step: int, metric: float | None) -> None:
        trainer.save_checkpoint(path)
        failure = trainer.strategy.checkpoint_io.failure
        if trainer.is_global_zero and failure is None:
            failure = self._account(Entry(path.name, step, trainer.strategy.checkpoint_io.sha256, metric), path.parent)
        if message := trainer.strategy.broadcast(str(failure) if failure else None):
            raise CheckpointWriteError(message)

    def _account(self, entry: Entry, folder: Path) -> CheckpointWriteError | None:
        """Enter a written file into the index and let old ones go; what failed, if anything."""
        try:
            record(folder, entry)
            if folder == self.folder:
                prune(self.folder, self.keep)
        except CheckpointWriteError as error:
            return error
        return None

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, so that a resumed run does not overwrite a better `best.ckpt`."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best value of the interrupted run."""
        self.best = state_dict["best"]
