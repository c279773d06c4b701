"""Score frozen features: `python evaluate.py run=RUN_DIR`; `--help` lists the choices."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from evax.config import clear_errors, entry_point, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> float:
    """Probe, write results.json, return the macro AUROC."""
    with clear_errors():
        from evax.run_evaluate import evaluate

        job = HydraConfig.get()
        return evaluate(cfg, job.runtime.output_dir, job.overrides.task)["test/auroc_macro"]


if __name__ == "__main__":
    entry_point(main)
