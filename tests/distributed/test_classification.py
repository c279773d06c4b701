"""A fine-tuning is the same on one rank and on two, scores included, and goes on after a kill (R3, R4, R11)."""

import csv
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from training_runs import EXACT, command, final_state, finish, relative_distance, start, stop_at, without_averages

from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource

STEPS = 30  # as `final_state` expects: 3 epochs of 10
SCORED = ("val/loss", "val/auroc_macro")
MITE = ("backbone=mite", "~backbone.drop_path")
RESNET = (
    *("backbone=timm", "backbone.name=resnet50", "optim.layer_decay=1.0"),
    *("+backbone.model_kwargs.layers=[1,1,1,1]", "+backbone.model_kwargs.channels=[8,8,8,8]"),
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films to train on, and an odd number of films to validate on."""
    folder = tmp_path_factory.mktemp("packs") / "phantom"
    prepare(PhantomSource(num_films=150, seed=1, films_per_patient=1, size=64), folder, size=32, workers=0)
    return folder


def words(
    pack: Path, run_dir: Path, devices: int, *, backbone: tuple[str, ...] = MITE, films_at_once: int | None = None
) -> list[str]:
    return [
        *("--config-dir=tests/conf", "experiment=demo_finetune", *backbone),
        *("image_size=32", "batch_size=8", f"per_device_batch={films_at_once or 4 // devices}"),
        *("trainer.accelerator=cpu", "trainer.precision=64-true", f"trainer.devices={devices}"),
        *("trainer.max_epochs=3", "optim.warmup_epochs=0.5", "data.fraction=0.8", "data.keep_epoch=false"),
        "~callbacks.progress",
        *("callbacks.checkpointing.every_n_steps=3", f"data.pack={pack}", f"hydra.run.dir={run_dir}"),
    ]


@pytest.fixture(scope="module")
def one_rank(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "one"
    finish(start(command(*words(pack, run_dir, devices=1))))
    return run_dir


def validations(run_dir: Path) -> np.ndarray:
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    return np.array([[float(row[name]) for name in SCORED] for row in rows])


def assert_equal_runs(run_dir: Path, other: Path) -> None:
    assert relative_distance(final_state(run_dir), final_state(other)) < EXACT
    np.testing.assert_allclose(validations(run_dir), validations(other), rtol=1e-6)
    tables = [pd.read_parquet(each / "predictions" / "test.parquet") for each in (run_dir, other)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-6)


def test_two_ranks_equal_one(pack: Path, one_rank: Path, tmp_path: Path) -> None:
    finish(start(command(*words(pack, tmp_path / "run", devices=2))))
    assert len(validations(one_rank)) == 3
    assert_equal_runs(one_rank, tmp_path / "run")


@pytest.mark.slow
def test_two_ranks_take_the_steps_of_two_micro_batches_with_a_cnn(pack: Path, tmp_path: Path) -> None:
    runs = {devices: tmp_path / str(devices) for devices in (1, 2)}
    for devices, run_dir in runs.items():
        output = finish(start(command(*words(pack, run_dir, devices, backbone=RESNET, films_at_once=4))))
        assert "its statistics are of 4 films, not of batch_size=8" in output
    assert relative_distance(*(without_averages(final_state(run_dir)) for run_dir in runs.values())) < EXACT


@pytest.mark.slow
def test_a_killed_fine_tuning_goes_on_by_the_same_command(pack: Path, one_rank: Path, tmp_path: Path) -> None:
    process = start(command(*words(pack, tmp_path / "run", devices=2)))
    stop_at(process, tmp_path / "run", 14, signal.SIGKILL)
    finish(start(command(*words(pack, tmp_path / "run", devices=1))))
    assert_equal_runs(one_rank, tmp_path / "run")
