"""Score features, a classifier or masks, or compare two runs: `python evaluate.py run=RUN_DIR`; see `--help`."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from evax.config import clear_errors, entry_point, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> float:
    """Probe, score or compare, write what came out, and return the macro AUROC or the difference of two."""
    with clear_errors():
        from evax.run_compare import compare
        from evax.run_evaluate import evaluate
        from evax.run_score import score_classifier
        from evax.run_score_masks import score_masks

        job = HydraConfig.get()
        work = {"classifier": score_classifier, "segmenter": score_masks}.get(cfg.features, evaluate)
        work = compare if cfg.compare is not None else work
        scores = work(cfg, job.runtime.output_dir, job.overrides.task)
        return next(iter(scores.values()))


if __name__ == "__main__":
    entry_point(main)
