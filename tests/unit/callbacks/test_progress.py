from unittest.mock import create_autospec

from lightning.pytorch import Trainer
from tiny import tiny_data, tiny_task, tiny_trainer

from evax.callbacks import Progress


class Watched(Progress):
    """Remembers what the bar showed."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = []

    def get_metrics(self, trainer, pl_module):
        self.shown.append(super().get_metrics(trainer, pl_module))
        return self.shown[-1]


def test_the_bar_shows_loss_agreement_and_speed(pack_folder, tmp_path):
    bar = Watched()
    trainer = tiny_trainer(tmp_path, max_epochs=2, enable_progress_bar=True, callbacks=[bar])
    trainer.fit(tiny_task(), tiny_data(pack_folder))
    assert set(bar.shown[-1]) == {"train/loss", "val/cosine_excess", "images/s"}
    assert float(bar.shown[-1]["images/s"]) > 0


def test_speed_counts_the_images_of_all_ranks_since_the_epoch_began(monkeypatch):
    bar = Progress()
    bar._images, bar._since = 80, 100.0
    monkeypatch.setattr("evax.callbacks.progress.time.perf_counter", lambda: 104.0)
    trainer, task = create_autospec(Trainer, instance=True), tiny_task()
    task.latest = {"train/loss": 0.12345}
    assert bar.get_metrics(trainer, task) == {"train/loss": "0.123", "images/s": "20"}
