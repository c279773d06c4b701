"""Show what a classifier looks at, and score it: `python explain.py run=RUN_DIR`; `--help` lists the choices."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from evax.config import clear_errors, entry_point, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="explain")
def main(cfg: DictConfig) -> float:
    """Map films, score the maps, draw them, and return the first method's share of peaks inside a box."""
    with clear_errors():
        from evax.runs.early import check_evaluation

        check_evaluation(cfg)
        from evax.commands.explain.command import explain

        job = HydraConfig.get()
        return explain(cfg, job.runtime.output_dir, job.overrides.task).get("test/pointing", float("nan"))


if __name__ == "__main__":
    entry_point(main)
