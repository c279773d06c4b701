"""A segmentation is the same on one rank and on two, its counts are of every film, and it goes on after a kill.

BatchNorm's statistics are of the films on a device at once: two micro-batches of one rank are those of two ranks. The
running averages, which see every micro-batch of a rank, are not the same, and so neither are scores.
"""

import csv
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import EXACT, command, final_state, finish, relative_distance, start, stop_at, without_averages

from evax.commands.evaluate.best_classifier import best_task
from evax.config import instantiate
from evax.data.masks import MaskPolicy
from evax.data.pack import Pack
from evax.runs.subject import read_run

pytestmark = pytest.mark.slow


def words(pack: Path, run_dir: Path, devices: int) -> list[str]:
    return [
        *("--config-dir=tests/conf", "experiment=demo_segment", "backbone=mite", "model.channels=8"),
        *("image_size=32", "batch_size=4", "per_device_batch=2", "data.fraction=1.0", "optim.lr=1e-3"),
        *("trainer.accelerator=cpu", "trainer.precision=64-true", f"trainer.devices={devices}"),
        *("trainer.max_epochs=3", "~callbacks.progress", "callbacks.checkpointing.every_n_steps=3"),
        *(f"data.pack={pack}", f"hydra.run.dir={run_dir}"),
    ]


@pytest.fixture(scope="module")
def one_rank(run_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "one"
    finish(start(command(*words(run_pack, run_dir, devices=1))))
    return run_dir


@pytest.fixture(scope="module")
def two_ranks(run_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "two"
    finish(start(command(*words(run_pack, run_dir, devices=2))))
    return run_dir


def test_two_ranks_take_the_steps_of_one(one_rank: Path, two_ranks: Path) -> None:
    states = [without_averages(final_state(run_dir)) for run_dir in (one_rank, two_ranks)]
    assert relative_distance(*states) < EXACT


def test_two_ranks_count_every_validation_film_once(two_ranks: Path, run_pack: Path) -> None:
    with (two_ranks / "metrics.csv").open(newline="") as file:
        recorded = max(float(row["val/dice"]) for row in csv.DictReader(file) if row["val/dice"])
    saved, pack, policy = read_run(two_ranks), Pack(run_pack), MaskPolicy("lungs", {"lung": [1, 2]})
    segmenter = best_task(saved, instantiate(saved.data), two_ranks)
    both = either = 0
    for row in np.flatnonzero(pack.is_in("official", ["val"])).tolist():
        with torch.inference_mode():
            predicted = segmenter.logits(torch.from_numpy(np.array(pack.film(row)))[None, None])[0, 0].numpy() > 0
        truth = policy(pack.mask("lungs", row)) == 1
        both, either = both + (predicted & truth).sum(), either + predicted.sum() + truth.sum()
    assert recorded == pytest.approx(2 * both / either, abs=2e-3)  # in float64 there, in float32 here


def test_a_killed_segmentation_goes_on_by_the_same_command(run_pack: Path, one_rank: Path, tmp_path: Path) -> None:
    process = start(command(*words(run_pack, tmp_path / "run", devices=1)))
    stop_at(process, tmp_path / "run", 14, signal.SIGKILL)
    finish(start(command(*words(run_pack, tmp_path / "run", devices=1))))
    assert relative_distance(final_state(one_rank), final_state(tmp_path / "run")) == 0
