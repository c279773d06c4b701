"""What belongs to runs in numbers: what follows a run (`then=probe`), and the table of a multirun."""

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def follow(run_dir: str | Path) -> dict[str, float]:
    """Score a classifier's test films; then do what the run's configuration says under `then`.

    That is a fine-tuning, or a probe of frozen features before (random) and after training. W&B is told what came out,
    where the run has it.
    """
    from evax.run import is_classifier
    from evax.run_classify import score
    from evax.run_evaluate import evaluate
    from evax.run_features import read_run
    from evax.run_finetune import fine_tune
    from evax.run_hosted import publish_scores

    run_dir = Path(run_dir).absolute()
    saved = read_run(run_dir)
    settings, scores = saved.get("then"), {}
    if is_classifier(saved):
        scores = score(saved, run_dir)
        publish_scores(run_dir, run_dir)
    if settings is None:
        return scores
    if settings.get("experiment") is not None:
        return fine_tune(settings, run_dir)
    common = {"run": str(run_dir), "name": None, "method": None, "notes": [], "seed": 0, **settings}
    evaluate(OmegaConf.create(common | {"features": "random", "against": []}), run_dir)
    random = run_dir / "evaluation" / "random"
    scores = evaluate(OmegaConf.create(common | {"features": "backbone", "against": [str(random)]}), run_dir)
    publish_scores(run_dir, run_dir / "evaluation" / "backbone", [random])
    return scores


def check_follow(cfg: DictConfig, data: Any) -> None:
    """Refuse, before a run has cost anything, what `then` could not do after it."""
    from evax.run_evaluate import check_probe
    from evax.run_finetune import check_finetuning

    settings = cfg.get("then")
    if settings is None:
        return
    if settings.get("experiment") is not None:
        check_finetuning(settings.config)
    else:
        check_probe(settings, data, prefix="then.")


class SweepTable(Callback):
    """Hydra's hook at the end of a multirun: one table and one plot of all jobs; exit code 1 if one did not finish."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and show the table of the sweep's folder."""
        from evax.report.sweep import FINISHED, SweepError, read_jobs, write_sweep
        from evax.run_cluster import wait_for_jobs

        folder = Path(config.hydra.sweep.dir)
        wait_for_jobs(folder)
        try:
            jobs = read_jobs(folder, have_ended=True)
        except SweepError as error:  # Hydra would make a warning of it
            sys.exit(f"error: {error}")
        log.info("%s", write_sweep(folder, jobs))
        if any(job.state != FINISHED for job in jobs):
            sys.exit(1)
