"""The table of a multirun."""

import logging
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """Hydra's hook at the end of a multirun: one table and one plot of all jobs; exit code 1 if one did not finish."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and show the table of the sweep's folder."""
        from evax.commands.train.cluster import wait_for_jobs
        from evax.report.sweep import FINISHED, SweepError, read_jobs, write_sweep

        if config.get("plan"):  # refused: there is no multirun
            sys.exit(1)
        folder = Path(config.hydra.sweep.dir)
        wait_for_jobs(folder)
        try:
            jobs = read_jobs(folder, have_ended=True)
        except SweepError as error:  # Hydra would make a warning of it
            sys.exit(f"error: {error}")
        log.info("%s", write_sweep(folder, jobs))
        if any(job.state != FINISHED for job in jobs):
            sys.exit(1)
