"""TensorBoard shows what `metrics.csv` has."""

import pytest
from composing import composed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evax.callbacks import tensorboard
from evax.callbacks.metrics_csv import read_metrics
from evax.callbacks.tensorboard import TensorBoard
from evax.commands.train.start import train

WORDS = ("experiment=demo_pretrain", "image_size=32", "batch_size=8", "optim.warmup_epochs=0.5", "logger=tensorboard")
WORDS += ("~callbacks.feature_probe", "~callbacks.progress", "~callbacks.pictures", "trainer.accelerator=cpu")
WORDS += ("trainer.precision=32-true",)


def shown(run_dir) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of every metric, as TensorBoard reads them."""
    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def written(run_dir) -> dict[str, list[tuple[int, float]]]:
    """The same of metrics.csv, but for films seen."""
    table: dict[str, list[tuple[int, float]]] = {}
    for step, metrics in read_metrics(run_dir):
        for name, value in metrics.items() - {("trainer/samples_seen", metrics["trainer/samples_seen"])}:
            table.setdefault(name, []).append((step, pytest.approx(value, rel=1e-6)))
    return table


def test_a_resumed_run_shows_every_step_once(pack_folder, tmp_path):
    run_dir = tmp_path / "run"
    train(composed(*WORDS, f"data.pack={pack_folder}", "trainer.max_epochs=2"), run_dir)
    assert shown(run_dir) == written(run_dir)
    max(sorted((run_dir / "checkpoints").glob("*.ckpt"))).unlink()  # as if killed before it was written
    longer = ["trainer.max_epochs=3"]
    train(composed(f"resume={run_dir}", *longer), tmp_path / "new", longer)
    assert shown(run_dir) == written(run_dir)
    assert [step for step, _ in shown(run_dir)["train/loss"]] == list(range(1, 16))


def test_a_missing_package_is_named_with_its_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[tensorboard\]'"):
        TensorBoard(str(tmp_path))


def test_both_loggers_compose():
    assert list(composed("logger=[wandb,tensorboard]").logger) == ["wandb", "tensorboard"]
