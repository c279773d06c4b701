import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from tiny import tiny_data, tiny_task, tiny_trainer

from evax.callbacks import FeatureProbe, MetricsCsv

KEYS = {"val/linear_auroc", "val/knn_auroc", "val/feature_rank", "val/target_rank"}


class RowsRead(Callback):
    """Remembers which rows of the pack were read, and the task's mode in every step."""

    def setup(self, trainer, pl_module, stage):
        self.rows, self.modes = set(), []
        read = trainer.datamodule.pack.film

        def film(row):
            self.rows.add(row)
            return read(row)

        trainer.datamodule.pack.film = film

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.modes.append(pl_module.backbone.training)


@pytest.fixture(scope="module")
def run(pack_folder, tmp_path_factory):
    """Metrics by step, and the spy, of three epochs probed every second one."""
    folder = tmp_path_factory.mktemp("run")
    table, spy, data = MetricsCsv(folder), RowsRead(), tiny_data(pack_folder)
    probe = FeatureProbe(every_n_epochs=2, num_neighbors=100)
    trainer = tiny_trainer(folder, max_epochs=3, logger=table, callbacks=[probe, spy])
    trainer.fit(tiny_task(), data)
    rows = {int(row["step"]): {name for name, cell in row.items() if cell} for row in table.rows()}
    return rows, table.rows(), spy, data


def test_features_are_probed_before_the_first_step(run):
    assert run[0][0] >= KEYS


def test_then_every_few_epochs_and_at_the_end(run):
    assert [step for step, names in run[0].items() if names >= KEYS] == [0, 10, 15]


def test_scores_have_their_ranges(run):
    row = run[1][0]
    assert all(0 <= float(row[name]) <= 1 for name in ("val/linear_auroc", "val/knn_auroc"))
    assert 1 <= float(row["val/feature_rank"]) <= 32
    assert 1 <= float(row["val/target_rank"]) <= 36


def test_the_targets_rank_never_changes_and_the_students_does(run):
    first, last = run[1][0], run[1][-1]
    assert float(first["val/target_rank"]) == pytest.approx(float(last["val/target_rank"]), rel=1e-5)
    assert first["val/feature_rank"] != last["val/feature_rank"]


def test_test_films_are_never_read(run):
    _, _, spy, data = run
    assert not spy.rows & set(data.rows("test").tolist())
    assert len(spy.rows) == 54


def test_training_goes_on_in_training_mode(run):
    assert run[2].modes == [True] * 15


def test_probing_does_not_change_training(pack_folder, tmp_path):
    weights = []
    for callbacks in ([], [FeatureProbe(every_n_epochs=1)]):
        torch.manual_seed(0)
        task = tiny_task()
        tiny_trainer(tmp_path, callbacks=callbacks).fit(task, tiny_data(pack_folder))
        weights.append(torch.cat([p.detach().flatten() for p in task.parameters()]))
    assert torch.equal(*weights)


def test_it_is_of_pre_training(tmp_path):
    with pytest.raises(ValueError, match=r"callbacks\.feature_probe is of pre-training"):
        FeatureProbe().on_train_start(tiny_trainer(tmp_path, max_epochs=1, logger=False), LightningModule())
