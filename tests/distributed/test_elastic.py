"""Ranks change nothing but rounding, also when their number changes on the way (R3, R4, R15)."""

import hashlib
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from training_runs import (
    EXACT,
    command,
    final_state,
    finish,
    in_float64,
    relative_distance,
    start,
    stop_at,
    table,
    wait_for_step,
)

from evax.data.module import PhantomData
from evax.masking import UniformMasking


def run(run_pack: Path, run_dir: Path, devices: int, **options: Path) -> list[str]:
    return command(*in_float64(run_pack, run_dir, devices), **options)


def global_batches(run_pack: Path, ranks: int, workers: int) -> list[str]:
    """One hash per optimizer step over rows, pixels and masks of all ranks, in order of ranks."""
    loaders = []
    for rank in range(ranks):
        data = PhantomData(
            pack=run_pack,
            image_size=32,
            batch_size=8,
            per_device_batch=2,
            seed=3,
            num_workers=workers,
            masking=UniformMasking(0.5),
        )
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            world_size=ranks,
            global_rank=rank,
            global_step=1,
            strategy=SimpleNamespace(root_device=SimpleNamespace(type="cpu")),
        )
        loaders.append(iter(data.train_dataloader()))
    hashes = []
    while True:
        parts = [[next(loader, None) for _ in range(4 // ranks)] for loader in loaders]
        if parts[0][0] is None:
            return hashes
        sha = hashlib.sha256()
        for batch in (batch for rank in parts for batch in rank):
            assert batch is not None
            for key in ("row", "image", "is_masked"):
                sha.update(batch[key].numpy().tobytes() if key != "row" else str(batch[key].tolist()).encode())
        hashes.append(sha.hexdigest())


@pytest.mark.parametrize(("ranks", "workers"), [(2, 0), (4, 0), (1, 2), (2, 1)])
def test_ranks_and_workers_see_the_same_pixels_and_masks(run_pack: Path, ranks: int, workers: int) -> None:
    assert global_batches(run_pack, ranks, workers) == global_batches(run_pack, 1, 0)


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_change_weights_by_rounding_only(devices: int, run_pack: Path, one_rank: Path, tmp_path: Path) -> None:
    finish(start(run(run_pack, tmp_path / "run", devices)))

    assert relative_distance(final_state(one_rank), final_state(tmp_path / "run")) < EXACT
    assert len(table(tmp_path / "run")) == len(table(one_rank))


@pytest.mark.slow
def test_ranks_may_change_on_resume(run_pack: Path, one_rank: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = start(run(run_pack, run_dir, 2))
    stop_at(process, run_dir, 5, signal.SIGTERM)
    finish(process, expected=143)
    process = start(command(f"resume={run_dir}", "trainer.devices=1", "data.per_device_batch=4"))
    stop_at(process, run_dir, 13, signal.SIGKILL)

    finish(start(command(f"resume={run_dir}", "trainer.devices=2", "data.per_device_batch=1")))

    assert relative_distance(final_state(one_rank), final_state(run_dir)) < EXACT


@pytest.mark.slow
def test_a_failing_rank_ends_the_job_and_is_named(run_pack: Path, tmp_path: Path) -> None:
    script = Path(__file__).parent / "failing_rank.py"
    process = start(run(run_pack, tmp_path / "run", 2, script=script))
    wait_for_step(tmp_path / "run", 2, process)
    since = time.monotonic()

    output = process.communicate(timeout=60)[0].decode()

    assert time.monotonic() - since < 30
    assert process.returncode != 0
    first_error = next(line for line in output.splitlines() if line.startswith("error:"))
    assert "rank 1 was told to fail" in first_error
