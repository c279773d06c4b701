"""What `train.py` does with a composed configuration: plan, train, submit, and what follows."""

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from evax.config import ConfigError, multirun_job

log = logging.getLogger(__name__)

MONITORS = ("val/cosine", "val/auroc_macro", "val/dice")  # of pre-training, classification and segmentation


def command(cfg: DictConfig) -> float | None:
    """Train in Hydra's run directory; returns the monitored metric for sweepers, None where there is none yet."""
    from evax.run import train
    from evax.run_follow import follow
    from evax.run_job import SUBMITTED, is_finished, recorded
    from evax.run_launch import check_launch, difference, is_first_rank
    from evax.run_settings import PLACES, decided

    job = HydraConfig.get()
    if cfg.sweep is not None and multirun_job() is None:
        raise ConfigError("sweep= is several runs; say so by -m: python train.py -m sweep=...")
    if cfg.plan:
        from evax.run_plan import plan

        plan(cfg, job.runtime.output_dir)
        return None
    check_launch(cfg, job.overrides.hydra)
    if cfg.resume is None and is_finished() and not difference(decided(cfg), Path(job.runtime.output_dir), PLACES):
        log.info("job %s is finished: nothing to do", job.job.num)
        return None
    with recorded(cfg) as outcome:
        metrics = train(cfg, job.runtime.output_dir, job.overrides.task)
        if metrics is None:
            outcome["state"] = SUBMITTED
        if metrics is None or not is_first_rank():  # a cluster's job does what follows itself
            return None
        metrics |= follow(cfg.resume or job.runtime.output_dir)
    return next((metrics[name] for name in MONITORS if name in metrics), None)
