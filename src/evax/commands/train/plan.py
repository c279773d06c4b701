"""`train.py plan=true`: a few real steps, and what the whole recipe would take. Nothing is left behind."""

import gc
import logging
import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from evax.config import ConfigError, instantiate
from evax.runs.build import build_task, check_films, open_data, quiet
from evax.runs.settings import check_run, settled

log = logging.getLogger(__name__)

STEPS, WARM_UP = 30, 5  # optimizer steps taken, and how many of them are not counted
USABLE = 0.9  # of the free memory; the rest is for fragments, validation and other batches
GIB = 2**30
OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)


@dataclass(frozen=True)
class Pace:
    """What some steps on one device took; seconds are a mean over the counted steps, memory is the most so far."""

    steps: int
    step_seconds: float
    waiting_seconds: float  # a step's share that went into waiting for films
    peak_bytes: int


@dataclass(frozen=True)
class Cost:
    """What a whole recipe takes on `devices` devices."""

    steps: int
    hours: float
    device_hours: float


def cost(films: int, batch_size: int, epochs: int, step_seconds: float, devices: int) -> Cost:
    """The steps of all epochs, whose last incomplete batches are dropped, at one speed."""
    steps = films // batch_size * epochs
    hours = steps * step_seconds / 3600
    return Cost(steps, hours, hours * devices)


def largest_fitting_batch(batch: int, bytes_at_batch: int, bytes_at_double: int, usable_bytes: int) -> int | None:
    """The largest batch whose memory fits, along the line through two measurements; None where there is no slope."""
    bytes_per_film = (bytes_at_double - bytes_at_batch) / batch
    if bytes_per_film <= 0:
        return None
    return max(0, batch + int((usable_bytes - bytes_at_batch) / bytes_per_film))


class Stopwatch(Callback):
    """Clocks every micro-batch: when it was asked for, when it was there, and when the device was done with it."""

    def __init__(self) -> None:
        self.asked, self.steps = time.perf_counter(), [(0.0, 0.0)]  # waiting and working seconds of each step
        self.there = self.asked

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first films are asked for."""
        self.asked = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Films are there."""
        self.there = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add to the present step; its last micro-batch ends it."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        done = time.perf_counter()
        waiting, working = self.steps[-1]
        self.steps[-1] = (waiting + self.there - self.asked, working + done - self.there)
        self.asked = done
        if trainer.global_step == len(self.steps):
            self.steps.append((0.0, 0.0))

    def pace(self, peak_bytes: int) -> Pace:
        """Means over the steps after the warm-up, or over the last one where there are fewer."""
        whole = self.steps[:-1]
        counted = whole[min(WARM_UP, len(whole) - 1) :]
        waiting, working = (sum(each) / len(counted) for each in zip(*counted, strict=True))
        return Pace(len(counted), waiting + working, waiting, peak_bytes)


def plan(cfg: DictConfig) -> Cost:
    """Measure the run that `cfg` describes on one device, and tell what all of it takes on its devices.

    Devices share a step's films evenly, so one of them shows the step of all but the exchange of gradients.
    """
    if cfg.resume is not None:
        raise ConfigError("plan=true is of a new run; leave out resume=")
    check_run(cfg)
    cfg = settled(cfg)
    quiet()
    data = open_data(cfg)
    check_films(cfg, data)
    devices = num_devices(cfg)
    share = cfg.batch_size // devices
    micro_batch, pace = pace_that_fits(cfg, share // data.accumulation(devices), share)
    fitting = largest_batch(cfg, micro_batch, pace.peak_bytes, data.films_per_epoch)
    whole = cost(data.films_per_epoch, cfg.batch_size, cfg.trainer.max_epochs, pace.step_seconds, devices)
    log.info("%s", told(cfg, pace, whole, fitting, devices))
    return whole


def num_devices(cfg: DictConfig) -> int:
    """The devices of all nodes, which this machine need not have; found out where the configuration leaves it open."""
    match cfg.trainer.get("devices"):
        case int() as devices if devices > 0:
            return devices * int(cfg.trainer.get("num_nodes", 1))
    return bare_trainer(cfg).world_size


def pace_that_fits(cfg: DictConfig, micro_batch: int, share: int) -> tuple[int, Pace]:
    """The films of a device's `share` that go through it at once, halved while its memory is too small; their pace."""
    if cfg.trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("plan=true measures here, and there is no GPU; plan on one, or by trainer.accelerator=cpu")
    while True:
        try:
            return micro_batch, measured(cfg, micro_batch, share // micro_batch, STEPS)
        except OUT_OF_MEMORY:
            if micro_batch == 1 or micro_batch % 2:
                raise
            log.info("%d films at once do not fit on the device; trying %d", micro_batch, micro_batch // 2)
            micro_batch //= 2


def bare_trainer(cfg: DictConfig, **settings: Any) -> Trainer:
    """The run's trainer without anything that writes."""
    silent: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    silent |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "limit_val_batches": 0}
    trainer: Trainer = instantiate(cfg.trainer, use_distributed_sampler=False, **(silent | settings))
    return trainer


def measured(cfg: DictConfig, micro_batch: int, accumulation: int, steps: int) -> Pace:
    """Take real optimizer steps on one device, with the films that fall to it."""
    share = OmegaConf.merge(cfg, {"data": {"batch_size": micro_batch * accumulation, "per_device_batch": micro_batch}})
    assert isinstance(share, DictConfig)
    seed_everything(cfg.seed, workers=False, verbose=False)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        one = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
        trainer = bare_trainer(share, **one, max_steps=steps, callbacks=[watch], default_root_dir=folder)
        trainer.accumulate_grad_batches = accumulation
        films = open_data(share)
        task = build_task(share, films)
        trainer.precision_plugin.convert_module(task)
        device = trainer.strategy.root_device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        trainer.fit(task, films)
    return watch.pace(peak_bytes(device))


def peak_bytes(device: torch.device) -> int:
    """The most memory so far: of tensors on the GPU since the last reset, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def largest_batch(cfg: DictConfig, micro_batch: int, peak: int, films: int) -> str:
    """The per-device batch that would fit, in words; on a GPU it is tried."""
    on_gpu = torch.cuda.is_available() and cfg.trainer.get("accelerator") != "cpu"
    if 2 * micro_batch > films:
        return f"not measured: twice per_device_batch={micro_batch} is more than the {films} training films"
    try:
        double = peak_when_taken(cfg, 2 * micro_batch)
    except OUT_OF_MEMORY:
        return f"{micro_batch} films a device; {2 * micro_batch} do not fit"
    guess = largest_fitting_batch(micro_batch, peak, double, int(USABLE * usable_bytes(on_gpu, peak)))
    guess = guess and min(guess, films)
    if guess is None:
        return f"at least {2 * micro_batch} films a device: memory did not grow from {micro_batch} to {2 * micro_batch}"
    if not on_gpu:
        of = " (all that there are)" if guess == films else ""
        return f"about {guess} films a device{of}, an estimate from the memory of {micro_batch} and {2 * micro_batch}"
    for batch in (guess, int(0.9 * guess), int(0.8 * guess)):
        with suppress(*OUT_OF_MEMORY):
            peak_when_taken(cfg, batch)
            return f"{batch} films a device, tried" + (" (all training films)" if batch == films else "")
    return f"at least {2 * micro_batch} films a device; {guess} were expected and do not fit"


def peak_when_taken(cfg: DictConfig, batch: int) -> int:
    """The peak memory of two steps with `batch` films at once."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return measured(cfg, batch, 1, 2).peak_bytes


def usable_bytes(on_gpu: bool, used: int) -> int:
    """What this process may fill in all: what it uses and what is free."""
    if on_gpu:
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    table = Path("/proc/meminfo")
    if not table.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = dict(line.split(":", 1) for line in table.read_text().splitlines())
    return used + 1024 * int(lines["MemAvailable"].split()[0])


def told(cfg: DictConfig, pace: Pace, whole: Cost, fitting: str, devices: int) -> str:
    """The block that a user reads."""
    on_gpu = torch.cuda.is_available() and cfg.trainer.get("accelerator") != "cpu"
    unit = "GPU-hours" if on_gpu else "device-hours"
    alone = "" if devices == 1 else ", measured on one without the exchange of gradients"
    return "\n".join(
        (
            f"plan of {cfg.name}: {cfg.batch_size} films a step, {devices} device(s){alone}, {cfg.trainer.precision}",
            f"  speed          {cfg.batch_size / pace.step_seconds:,.1f} images/s, {pace.step_seconds:.3f} s a step "
            f"(mean of {pace.steps})",
            f"  data           {pace.waiting_seconds / pace.step_seconds:.0%} of the time goes into waiting for films",
            f"  peak memory    {pace.peak_bytes / GIB:.2f} GiB {'of the GPU' if on_gpu else 'of this process'}",
            f"  fits           {fitting}",
            f"  whole recipe   {whole.steps:,} steps, {whole.hours:,.2f} hours, {whole.device_hours:,.2f} {unit}; "
            "validation, probes and checkpoints come on top",
        )
    )
