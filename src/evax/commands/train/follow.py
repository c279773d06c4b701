"""What a trained run leads to: a classifier's or segmenter's test films are scored, and `then` is done."""

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from evax.checkpoints.names import BEST
from evax.commands.evaluate.best_classifier import score
from evax.commands.evaluate.best_segmenter import score_segmenter
from evax.commands.evaluate.probe import evaluate
from evax.commands.train.fit import claimed, fit
from evax.commands.train.hosted import publish_scores
from evax.runs.settings import identified, is_segmenter, is_supervised
from evax.runs.subject import read_run

log = logging.getLogger(__name__)

FINETUNE = "finetune"  # in the run directory


def follow(run_dir: str | Path) -> dict[str, float]:
    """Score the test films of a classifier or segmenter; then do what the run's configuration says under `then`.

    That is a fine-tuning, or a probe of frozen features before (random) and after training. W&B is told what came out,
    where the run has it.
    """
    run_dir = Path(run_dir).absolute()
    saved = read_run(run_dir)
    then, scores = saved.get("then"), {}
    if is_supervised(saved):
        scores = scored(saved, run_dir)
        publish_scores(run_dir, run_dir)
    if then is None:
        return scores
    return fine_tune(then, run_dir) if then.get("experiment") is not None else probe(then, run_dir)


def scored(cfg: DictConfig, run_dir: Path) -> dict[str, float]:
    """Score the test films by the best checkpoint of a run."""
    log.info("scoring the test images by %s", run_dir / BEST)
    return score_segmenter(cfg, run_dir) if is_segmenter(cfg) else score(cfg, run_dir)


def probe(then: DictConfig, run_dir: Path) -> dict[str, float]:
    """What frozen features are worth before and after training, and the paired difference."""
    common = {"run": str(run_dir), "name": None, "method": None, "notes": [], "seed": 0, **then}
    log.info("then: a probe of frozen features, first of the untrained backbone")
    evaluate(OmegaConf.create(common | {"features": "random", "against": []}), run_dir)
    random = run_dir / "evaluation" / "random"
    log.info("then: the same of the trained backbone")
    scores = evaluate(OmegaConf.create(common | {"features": "backbone", "against": [str(random)]}), run_dir)
    publish_scores(run_dir, run_dir / "evaluation" / "backbone", [random])
    return scores


def fine_tune(then: DictConfig, run_dir: Path) -> dict[str, float]:
    """Fine-tune the best checkpoint of `run_dir` in its folder `finetune`, and score the test films.

    A fine-tuning of an earlier best checkpoint that stands there is refused: the run was gone on with.
    """
    cfg = OmegaConf.create(OmegaConf.to_container(then.config))
    assert isinstance(cfg, DictConfig)
    for node in (cfg, cfg.backbone, cfg.model.backbone):
        node.weights = str(run_dir)
    folder = run_dir / FINETUNE
    log.info("then: %s in %s", then.experiment, folder)
    cfg = identified(cfg)
    with claimed(cfg, folder):
        fit(cfg, folder)
    scores = scored(cfg, folder)
    publish_scores(run_dir, folder)
    return scores
