"""TensorBoard as a copy of the run directory's `metrics.csv`."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from evax.callbacks.hosted import AXIS
from evax.callbacks.metrics_csv import read_metrics


class TensorBoard(TensorBoardLogger):
    """Lightning's TensorBoard logger, with every step of `metrics.csv` once, in the run's folder `tensorboard`.

    Its axis is the optimizer step, so that films seen, which every part of a step's row repeats, are left out.
    """

    def __init__(self, save_dir: str) -> None:
        if find_spec("tensorboard") is None:
            raise ValueError("logger=tensorboard needs a package: `pip install -e '.[tensorboard]'`, or leave it out")
        super().__init__(save_dir, name="tensorboard", version="", default_hp_metric=False)

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Go on after `step`: hide all earlier events and write them anew, as a killed process may have lost some."""
        if Path(self.log_dir).exists():
            self._kwargs["purge_step"] = 0
        for recorded, metrics in read_metrics(Path(self.save_dir)):
            if recorded <= step:
                self.log_metrics(metrics, recorded)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | int], step: int | None = None) -> None:
        """Metrics of an optimizer step."""
        super().log_metrics({name: value for name, value in metrics.items() if name != AXIS}, step)

    @rank_zero_only
    def save(self) -> None:
        """Write what is still in memory; there are no hyperparameters to write, `config.yaml` has them."""
        if self._experiment is not None:
            self._experiment.flush()
