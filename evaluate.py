"""Score frozen features, or compare two runs: `python evaluate.py run=RUN_DIR`; `--help` lists the choices."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from evax.config import clear_errors, entry_point, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> float:
    """Probe or compare, write what came out, and return the macro AUROC or the difference of two."""
    with clear_errors():
        from evax.run_compare import compare
        from evax.run_evaluate import evaluate

        job = HydraConfig.get()
        work = evaluate if cfg.compare is None else compare
        scores = work(cfg, job.runtime.output_dir, job.overrides.task)
        return next(iter(scores.values()))


if __name__ == "__main__":
    entry_point(main)
