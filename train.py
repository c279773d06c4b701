"""Fit a task: `python train.py experiment=demo_pretrain`; `--help` lists the choices."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from evax.config import (
    ConfigError,
    clear_errors,
    entry_point,
    multirun_job,
    record_job,
    register_schemas,
    started_by_parent,
)

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Train in Hydra's run directory; returns the monitored metric for sweepers, None where the job failed."""
    with clear_errors():
        from evax.run import train
        from evax.run_sweep import follow

        job = HydraConfig.get()
        if cfg.sweep is not None and multirun_job() is None:
            raise ConfigError("sweep= is several runs; say so by -m: python train.py -m sweep=...")
        record_job()
        metrics = train(cfg, job.runtime.output_dir, job.overrides.task)
        return (metrics | follow(cfg.resume or job.runtime.output_dir)).get("val/cosine")
    return None


if __name__ == "__main__":
    entry_point(started_by_parent() or main)
