"""What every task shares: one backbone, a rate per step, and randomness that is keyed by the step."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, UInt8
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer

from evax.backbones.batch_norm import films_in_statistics
from evax.backbones.drop_path import draw_drop_path
from evax.backbones.eva_x import EvaX
from evax.backbones.foreign import Foreign
from evax.backbones.grid import check_grid
from evax.backbones.precision import full_precision
from evax.backbones.preprocessing import normalisation_of, normalise_as
from evax.checkpoints.weight_files import recorded_normalisation
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.module import PackDataModule
from evax.data.pixels import normalise, to_unit
from evax.optim.recipe import Recipe, Schedule

log = logging.getLogger(__name__)


def check_known(**choices: tuple[str, Collection[str]]) -> None:
    """Refuse a setting of the model that is none of those known: its key, with its value and the known ones."""
    for key, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"model.{key}={value} is not known; choose {' or '.join(known)}")


class Task(LightningModule):
    """A backbone being trained. The data module is a `PackDataModule`; subclasses add `training_step` and `collect`."""

    monitors: ClassVar[tuple[str, ...]]  # what validation records
    schedule: Schedule

    def __init__(self, backbone: EvaX | Foreign, optim: Recipe, seed: int) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.optim, self.seed = optim, seed
        self.latest: dict[str, float] = {}  # the newest value of every metric
        self._losses: list[Tensor] = []  # of the micro-batches since the last optimizer step

    @property
    def data(self) -> PackDataModule:
        """The films that the trainer feeds."""
        return cast("PackDataModule", getattr(self.trainer, "datamodule", None))

    def setup(self, stage: str) -> None:
        """Refuse films that the backbone's patches do not cover, before anything is computed."""
        check_grid(self.backbone, self.data.image_size)

    def configure_optimizers(self) -> Optimizer:
        """The recipe's optimizer, without a scheduler object: the rate is a pure function of the step."""
        epochs = self.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise ValueError("trainer.max_epochs must be set: the schedule of the rate needs an end")
        self.schedule = self.optim.schedule(self.data.steps_per_epoch, epochs)
        return self.optim.build(self)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Collect what a batch shows in full precision, as all that is scored: autocast is for training steps."""
        with full_precision():
            self.collect(batch)

    def collect(self, batch: dict[str, Any]) -> None:
        """Take in a batch of validation images for the scores of the epoch."""
        raise NotImplementedError

    @property
    def films_at_once(self) -> int:
        """How many films a device trains on together."""
        return self.data.batch_size // self.trainer.world_size // self.trainer.accumulate_grad_batches

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse data with other classes than the head's."""
        if list(self.data.classes) != list(classes):
            raise ValueError(
                f"data.classes={self.data.classes} are not the model's {list(classes)}; leave model.classes to the data"
            )

    def tell_statistics(self) -> None:
        """Say of how many films BatchNorm's statistics are, where that is not the batch."""
        films = films_in_statistics(self, self.films_at_once, self.trainer.world_size)
        if films is not None and films < self.data.batch_size:
            log.info(
                "BatchNorm: its statistics are of %d films, not of batch_size=%d; per_device_batch= and, over GPUs, "
                "+trainer.sync_batchnorm=true change that, and with it the run",
                films,
                self.data.batch_size,
            )

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the global norm, or by value where the trainer says so.

        Lightning's own refuses fused optimizers under autocast: it fears the scaled gradients of fp16, absent here.
        """
        if gradient_clip_val and gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep beside the weights how images are normalised, as an export's `.json` does, and where the run ends."""
        mean, std = normalisation_of(self.backbone)
        checkpoint["preprocessing"] = {"mean": list(mean), "std": list(std)}
        checkpoint |= {"steps_per_epoch": self.data.steps_per_epoch, "max_epochs": self.trainer.max_epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Normalise as before, and count the batches of a begun epoch in this run's micro-batches.

        Ranks and accumulation may have changed.
        """
        self.adopt_preprocessing(checkpoint)
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
        begun = progress["ready"]
        if begun:
            steps = checkpoint["global_step"] % self.data.steps_per_epoch or self.data.steps_per_epoch
            for stage in ("ready", "started", "processed", "completed"):
                progress[stage] += steps * self.trainer.accumulate_grad_batches - begun

    def adopt_preprocessing(self, checkpoint: dict[str, Any]) -> None:
        """Normalise images as the checkpoint says, where it says."""
        if known := recorded_normalisation(checkpoint):
            normalise_as(self.backbone, known)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Set the rate, and re-key all randomness of the model, from the step alone."""
        rate = self.schedule(self.global_step)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group["lr_scale"]
        place = batch_idx * self.trainer.world_size + self.global_rank
        model_key = keyed_generator(self.seed, Stream.MODEL, epoch=self.current_epoch, index=place)
        torch.manual_seed(int(model_key.integers(2**63)))
        self._draw_drop_path(batch_idx, len(batch["image"]))

    def _draw_drop_path(self, batch_idx: int, micro_batch: int) -> None:
        nth = batch_idx % self.trainer.accumulate_grad_batches
        first = self.global_rank * (self.data.batch_size // self.trainer.world_size) + nth * micro_batch
        step_key = keyed_generator(self.seed, Stream.DROP_PATH, index=self.global_step)
        draw_drop_path(self, step_key, self.data.batch_size, slice(first, first + micro_batch))

    def unit_images(self, images: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Stored bytes as [0, 1] images in the backbone's precision (float64 for audits, else float32)."""
        is_double = next(self.backbone.parameters()).dtype == torch.float64
        return to_unit(images, torch.float64 if is_double else torch.float32)

    def student_input(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Unit images normalised as the backbone's weights ask."""
        return normalise(images, *normalisation_of(self.backbone))

    def record(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        """Write metrics of an optimizer step (default: the one completed last) to every logger at once.

        Lightning's own route hands training metrics to loggers after checkpoints are written, so a killed run
        would lose the row of its last step. Values must be equal on all ranks.
        """
        step = self.global_step if step is None else step
        values = {name: float(value) for name, value in metrics.items()}
        self.latest |= values
        self.log_dict(values, logger=False, on_step=False, on_epoch=True, batch_size=1)
        samples_seen = step * self.data.batch_size
        for logger in self.loggers:
            logger.log_metrics({"trainer/samples_seen": samples_seen} | values, step=step)

    def record_loss(self, loss: Tensor) -> None:
        """Record the mean over micro-batches and ranks once per optimizer step, with the rate."""
        self._losses.append(loss.detach())
        if len(self._losses) < self.trainer.accumulate_grad_batches:
            return
        mean = torch.stack(self._losses).mean()
        self._losses.clear()
        if self.trainer.world_size > 1:
            mean = self.trainer.strategy.reduce(mean, reduce_op="mean")
        self.record({"train/loss": mean, "train/lr": self.schedule(self.global_step)}, step=self.global_step + 1)
