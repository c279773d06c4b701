"""How far a run is: a bar of all its steps on a terminal, lines elsewhere, and soon when it will end."""

import logging
import sys
import time
from datetime import datetime, timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from evax.progress import duration

log = logging.getLogger(__name__)

WARM_UP, TELLING = 4, 20  # steps that no speed is taken from, and after which the end is told
SHOWN = {"train/loss": "loss", "val/cosine_excess": "val", "val/auroc_macro": "val AUROC", "val/dice": "val Dice"}


def end_told(step: int, total: int, seconds: float, now: datetime) -> str:
    """When a run ends whose remaining steps take `seconds`."""
    end = now + timedelta(seconds=seconds)
    day = "" if end.date() == now.date() else f"{end:%a %d %b} "
    return f"{step:,} of {total:,} steps; ends about {day}{end:%H:%M} (in {duration(seconds)}), validation not counted"


def epoch_of(trainer: Trainer) -> str:
    """The epoch that a run is in, of how many."""
    return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"


class Pace:
    """The speed of a run by its steps so far; `first` is the step that it started or resumed from."""

    def __init__(self, first: int, total: int) -> None:
        self.step, self.first, self.total = first, first, total
        self.began: float | None = None  # when the warm-up was over
        self.away = self.left = 0.0  # seconds spent in validation since then, and when the present one began

    def advance(self, step: int) -> None:
        """A step was taken."""
        self.step = step
        if self.began is None and step >= self.first + WARM_UP:
            self.began, self.away = time.perf_counter(), 0.0

    def leave(self) -> None:
        """Training makes room for validation."""
        self.left = time.perf_counter()

    def come_back(self) -> None:
        """Training goes on."""
        self.away += time.perf_counter() - self.left

    def remaining(self, *, with_validation: bool = True) -> float | None:
        """Seconds to the last step at the speed so far; None before there is one."""
        counted = self.step - self.first - WARM_UP
        if self.began is None or counted < 1:
            return None
        spent = time.perf_counter() - self.began - (0.0 if with_validation else self.away)
        return spent / counted * (self.total - self.step)


class Progress(ProgressBar):
    """Shows steps, remaining time of the whole run, images per second over all devices, loss and validation score.

    Where there is no terminal it logs a line every `seconds` instead. After 20 steps it logs when the run will end.
    """

    def __init__(self, *, seconds: float = 30.0) -> None:
        super().__init__()
        self.seconds, self._is_on = seconds, True
        self._since, self._images = time.perf_counter(), 0
        self._told, self._pace = self._since, Pace(0, 0)
        self._bar: Bar | None = None

    def disable(self) -> None:
        """Be silent, as on ranks but the first."""
        self._is_on = False

    def enable(self) -> None:
        """Show progress."""
        self._is_on = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar at the step that the run is at."""
        steps = trainer.num_training_batches // trainer.accumulate_grad_batches
        self._pace = Pace(trainer.global_step, steps * (trainer.max_epochs or 0))
        self._told = time.perf_counter()
        console = Console(stderr=True)
        if self._is_on and console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.fields[facts]}"))
            how: dict[str, Any] = {"refresh_per_second": 2, "transient": True, "expand": True}
            self._bar = Bar(*columns, console=console, redirect_stdout=sys.stdout.isatty(), **how)
            self._bar.add_task("", total=self._pace.total, completed=self._pace.step, facts="")
            self._bar.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count anew, so that validation and figures do not slow the figure down."""
        self._since, self._images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of all ranks, and show what has changed with the step."""
        self._images += len(batch["image"]) * trainer.world_size
        pace = self._pace
        if not self._is_on or trainer.global_step == pace.step:
            return
        pace.advance(trainer.global_step)
        seconds = pace.remaining(with_validation=False)
        if pace.step == pace.first + TELLING < pace.total and seconds is not None:
            log.info("%s", end_told(pace.step, pace.total, seconds, datetime.now()))
        self._show(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what takes time now."""
        self._pace.leave()
        if self._bar is not None:
            self._bar.update(TaskID(0), description="validating")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not take validation for slow steps."""
        self._pace.come_back()
        if self._bar is not None:
            self._bar.update(TaskID(0), description=epoch_of(trainer))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal to the error."""
        self.teardown(trainer, pl_module, "fit")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What is shown beside steps and time, by name."""
        speed = self._images / max(time.perf_counter() - self._since, 1e-9)
        latest = getattr(pl_module, "latest", {})
        metrics = {name: f"{latest[name]:.3f}" for name in SHOWN if name in latest}
        return metrics | {"images/s": f"{speed:.0f}"}

    def facts(self, trainer: Trainer, pl_module: LightningModule) -> str:
        """The words of the bar, or of a line."""
        metrics, pace = self.get_metrics(trainer, pl_module), self._pace
        seconds = pace.remaining()
        left = [] if seconds is None else [f"{duration(seconds)} left"]
        speed = [f"{metrics.pop('images/s')} images/s"]
        scores = [f"{SHOWN[name]} {value}" for name, value in metrics.items()]
        return ", ".join([f"{pace.step:,}/{pace.total:,}", *left, *speed, *scores])

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = epoch_of(trainer)
        if self._bar is not None:
            step, facts = self._pace.step, self.facts(trainer, pl_module)
            self._bar.update(TaskID(0), completed=step, description=epoch, facts=facts)
        elif time.perf_counter() - self._told >= self.seconds:
            self._told = time.perf_counter()
            log.info("%s, step %s", epoch, self.facts(trainer, pl_module))
