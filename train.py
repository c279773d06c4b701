"""Fit a task: `python train.py experiment=demo_pretrain`; `--help` lists the choices."""

import hydra
from omegaconf import DictConfig

from evax.commands.train.command import command, started_by_parent
from evax.config import clear_errors, entry_point, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Train in Hydra's run directory; returns the monitored metric for sweepers."""
    with clear_errors():
        return command(cfg)
    return None


if __name__ == "__main__":
    entry_point(started_by_parent() or main)
