"""Score features, a classifier or masks, or compare two runs: `python evaluate.py run=RUN_DIR`; see `--help`."""

import hydra
from omegaconf import DictConfig

from evax.commands.evaluate.command import command
from evax.config import clear_errors, entry_point, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> float | None:
    """Probe, score or compare, and return the macro AUROC or the difference of two, for sweepers."""
    with clear_errors():
        return command(cfg)
    return None


if __name__ == "__main__":
    entry_point(main)
