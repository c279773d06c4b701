"""What belongs to runs in numbers: what follows a run (`then=probe`), and the table of a multirun."""

import logging
import sys
from pathlib import Path
from typing import Any, cast

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


def follow(run_dir: str | Path) -> dict[str, float]:
    """Do what a finished run's configuration says under `then`: a probe before (random) and after training."""
    from evax.run_evaluate import evaluate, read_run

    run_dir = Path(run_dir).absolute()
    settings = read_run(run_dir).get("then")
    if settings is None:
        return {}
    common = {"run": str(run_dir), "name": None, "method": None, "notes": [], "seed": 0, **settings}
    evaluate(OmegaConf.create(common | {"features": "random", "against": []}), run_dir)
    random = str(run_dir / "evaluation" / "random")
    return evaluate(OmegaConf.create(common | {"features": "backbone", "against": [random]}), run_dir)


class SweepTable(Callback):
    """Hydra's hook at the end of a multirun: one table and one plot of all jobs; exit code 1 if one failed."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and show the table of the sweep's folder."""
        from evax.report.sweep import SweepError, read_jobs, write_sweep

        folder = Path(config.hydra.sweep.dir)
        sweep = cast("dict[str, Any]", OmegaConf.to_container(config.sweep)) if config.sweep is not None else {}
        try:
            log.info("%s", write_sweep(folder, **sweep))
        except SweepError as error:  # Hydra would make a warning of it
            sys.exit(f"error: {error}")
        if any(job.error for job in read_jobs(folder)):
            sys.exit(1)
