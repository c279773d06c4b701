"""Weights & Biases as a copy of the run directory: numbers and settings, offline unless told otherwise."""

from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from evax.callbacks.hosted_file import HostedRow, newest_row
from evax.callbacks.hosted_settings import chosen, flat_settings, names, share, tags
from evax.callbacks.metrics_csv import read_metrics
from evax.checkpoints.export import read_config

AXIS = "trainer/samples_seen"
TABLE = "test/per_class"


class HostedLogger(WandbLogger):
    """Lightning's W&B logger with films seen as the axis, every step once, and pixels of public data only.

    What is not a number is left out where the data is credentialed, whoever logs it. The run is ended with its
    training, so that the next one of the process has its own; `log_scores` opens it again by its id.
    """

    def __init__(self, *, run_dir: Path, is_public: bool, offline: bool, **settings: Any) -> None:
        super().__init__(save_dir=str(run_dir), offline=offline, log_model=False, resume="allow", **settings)
        self.run_dir, self.is_public = run_dir, is_public
        self._held = HostedRow()  # the newest that W&B has

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run; the first use opens it."""
        is_new = self._experiment is None
        run = super().experiment
        if is_new:
            run.define_metric(AXIS)
            run.define_metric("*", step_metric=AXIS, step_sync=True)
            if run.starting_step:  # a server that has the run closes its rows
                self._held = HostedRow(run.starting_step)
        return run

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Go on after `step`: say from metrics.csv what a killed run could not, and later nothing twice."""
        if self._offline:
            self._held = newest_row(self.run_dir, str(self.version))
        for recorded, metrics in read_metrics(self.run_dir):
            if self._held.step <= recorded <= step:
                self.log_metrics(metrics, recorded)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """A row per optimizer step, under its number."""
        run = self.experiment
        new = {name: value for name, value in metrics.items() if self.is_public or isinstance(value, Real)}
        if step is not None and step == self._held.step:
            new = {name: value for name, value in new.items() if name == AXIS or name not in self._held.metrics}
        if new.keys() - {AXIS} and (step is None or step >= self._held.step):
            run.log(new, step=step)

    @rank_zero_only
    def log_figure(self, name: str, file: Path, step: int) -> None:
        """A figure of the run directory; none of credentialed data."""
        if self.is_public:
            from wandb import Image

            self.log_metrics({name: Image(str(file))}, step)

    @rank_zero_only
    def log_scores(
        self, columns: Sequence[str], rows: Sequence[Sequence[str | float | None]], scores: Mapping[str, float | str]
    ) -> None:
        """A table of findings and final scores, into the summary; a finished run is opened again.

        The summary is written whole, with the newest metrics: it may reach the server apart from the rows.
        """
        from wandb import Table

        newest = {name: value for _, metrics in read_metrics(self.run_dir) for name, value in metrics.items()}
        summary = self.experiment.summary
        summary.update(newest | dict(scores))
        summary[TABLE] = Table(columns=list(columns), data=[list(row) for row in rows])

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run; W&B says how an offline one reaches the server."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status in ("finished", "success") else 1)
            self._experiment = None


def wandb_logger(save_dir: str, project: str = "evax", *, offline: bool = True) -> HostedLogger:
    """A W&B logger of the run in `save_dir`: settings under flat keys, grouped by multirun, tagged by what was chosen.

    W&B's defaults store console output, the command line, the git state, installed packages and the machine, where
    patient paths can hide; all of that is off. System statistics are recorded where the pack is public. Checkpoints
    are never uploaded. Raises ValueError where it is to go online without a login.
    """
    from wandb import Settings  # slow to import, and only wanted here

    if not offline:
        require_login("logger.wandb.offline=false", "stay offline")
    run_dir = Path(save_dir)
    config = read_config(run_dir)
    listed = names(run_dir, config)
    is_public = share(config) == "public"
    return HostedLogger(
        run_dir=run_dir,
        is_public=is_public,
        offline=offline,
        name=listed.name,
        project=project,
        id=listed.id,
        group=listed.group,
        job_type=chosen(config, "model"),
        tags=tags(config),
        config=flat_settings(config),
        settings=Settings(
            mode="offline" if offline else "online",  # Lightning sets a variable, which W&B may have read before
            host="hidden",
            console="off",
            disable_git=True,
            save_code=False,
            x_save_requirements=False,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=not is_public,
        ),
    )


def require_login(what: str, otherwise: str) -> None:
    """ValueError naming the fix where W&B has no key; it is never asked for."""
    from wandb import Api
    from wandb.errors import UsageError

    try:
        Api()
    except UsageError as error:
        raise ValueError(f"{what} needs a login: run `wandb login`, set WANDB_API_KEY, or {otherwise}") from error
