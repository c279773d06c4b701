"""What `evaluate.py` does with a composed configuration: probe features, score a classifier or masks, or compare."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from evax.runs.early import check_evaluation


def command(cfg: DictConfig) -> float:
    """Write what came out to Hydra's directory or the run's; returns the first score, or the difference of two."""
    check_evaluation(cfg)
    from evax.commands.evaluate.any_classifier import score_classifier
    from evax.commands.evaluate.any_segmenter import score_masks
    from evax.commands.evaluate.compare import compare
    from evax.commands.evaluate.probe import evaluate

    work = {"classifier": score_classifier, "segmenter": score_masks}.get(cfg.features, evaluate)
    work = compare if cfg.compare is not None else work
    job = HydraConfig.get()
    return next(iter(work(cfg, job.runtime.output_dir, job.overrides.task).values()))
