"""What `train.py` does with a composed configuration: plan, train, submit, and what follows."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from evax.commands.train.job import SUBMITTED, is_finished, recorded
from evax.config import RUN_CONFIG_VARIABLE, RUN_DIR_VARIABLE, ConfigError, multirun_job
from evax.runs.early import check_training
from evax.runs.launch import check_launch, difference, is_first_rank
from evax.runs.settings import PLACES, decided

log = logging.getLogger(__name__)

MONITORS = ("val/cosine", "val/auroc_macro", "val/dice")  # of pre-training, classification and segmentation


def command(cfg: DictConfig) -> float | None:
    """Train in Hydra's run directory; returns the monitored metric for sweepers, None where there is none yet."""
    if cfg.sweep is not None and multirun_job() is None:
        raise ConfigError("sweep= is several runs; say so by -m: python train.py -m sweep=...")
    if cfg.plan and multirun_job() is not None:
        raise ConfigError("plan=true is of one run; leave out -m")
    job = HydraConfig.get()
    if cfg.plan:
        check_training(cfg)
        from evax.commands.train.plan import plan

        plan(cfg)
        return None

    check_launch(cfg, job.overrides.hydra)
    if cfg.resume is None and is_finished() and not difference(decided(cfg), Path(job.runtime.output_dir), PLACES):
        log.info("job %s is finished: nothing to do", job.job.num)
        return None
    with recorded(cfg) as outcome:
        check_training(cfg, job.overrides.task)
        run_dir, began = Path(cfg.resume or job.runtime.output_dir), time.monotonic()
        if is_first_rank():
            log.info("%s %s: loading PyTorch …", "resuming" if cfg.resume else "starting", run_dir)
        from evax.commands.train.banner import ending
        from evax.commands.train.follow import follow
        from evax.commands.train.start import train
        from evax.runs.subject import read_run

        metrics = train(cfg, job.runtime.output_dir, job.overrides.task)
        if metrics is None:
            outcome["state"] = SUBMITTED
        if metrics is None or not is_first_rank():  # a cluster's job does what follows itself
            return None
        metrics |= (scores := follow(run_dir))
        log.info("%s", ending(read_run(run_dir), run_dir, scores, time.monotonic() - began))
    return next((metrics[name] for name in MONITORS if name in metrics), None)


def started_by_parent() -> Callable[[], Any] | None:
    """The work of a rank that another process started, which must not compose a configuration of its own."""
    if RUN_DIR_VARIABLE not in os.environ:
        return None
    run_dir = Path(os.environ[RUN_DIR_VARIABLE])
    cfg = cast("DictConfig", OmegaConf.create(os.environ[RUN_CONFIG_VARIABLE]))

    def join() -> None:
        from evax.commands.train.fit import fit

        fit(cfg, run_dir)

    return join
