"""SIGTERM and Ctrl-C: finish the optimizer step, write a checkpoint, end."""

import logging
import signal
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from evax.callbacks.checkpointing import Checkpointing

log = logging.getLogger(__name__)

TIME_LIMIT = (signal.SIGUSR1, signal.SIGUSR2)  # what clusters send before it: the run wants to go on
SIGNALS = (signal.SIGTERM, signal.SIGINT, *TIME_LIMIT)


class Preempted(SystemExit):
    """The run was told to stop and has written a checkpoint; exit code 143, as a shell expects of SIGTERM."""

    def __init__(self, *, to_be_continued: bool = False) -> None:
        super().__init__(143)
        self.to_be_continued = to_be_continued  # a time limit was near, and nobody asked for the end


class Preemption(Checkpoint):
    """Replaces Lightning's handlers, which exit 0, or save between two optimizer statements.

    It is a Checkpoint to Lightning so that it runs after callbacks that change weights, such as averages. A flag
    is set in the handler and read at the end of an optimizer step, where all ranks agree on it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.to_be_continued = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals; Lightning restores the former handlers when it ends."""
        for number in SIGNALS:
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # Ctrl-C twice: now
        self.asked = True
        self.to_be_continued |= number in TIME_LIMIT

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and leave if any rank was asked to; only between optimizer steps."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches or trainer.is_last_batch:
            return
        asked = self.asked
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            self._leave(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last step of an epoch is saved after its validation."""
        if trainer.world_size > 1:
            self.asked = trainer.strategy.reduce_boolean_decision(self.asked, all=False)
        if self.asked:
            self._leave(trainer)

    def _leave(self, trainer: Trainer) -> None:
        to_be_continued, saved = self.to_be_continued, 0
        if trainer.world_size > 1:  # the signal reached some ranks first
            to_be_continued = trainer.strategy.reduce_boolean_decision(to_be_continued, all=False)
        for callback in trainer.callbacks:
            if isinstance(callback, Checkpointing):
                if callback.saved_step != trainer.global_step:
                    callback.save(trainer)
                saved = callback.saved_step
        log.warning(
            "told to stop at step %d of %d: the checkpoint of step %d is written; go on by python train.py resume=%s",
            trainer.global_step,
            (trainer.max_epochs or 0) * trainer.datamodule.steps_per_epoch,
            saved,
            trainer.default_root_dir,
        )
        raise Preempted(to_be_continued=to_be_continued)
