"""Jobs through submitit, as processes of this machine."""

import csv
import os
import signal
import time
from pathlib import Path

import pytest
from training_runs import (
    EXACT,
    TINY,
    command,
    final_state,
    in_float64,
    pids,
    relative_distance,
    start,
    wait_for_step,
)

from evax.checkpoints.files import read_checkpoint

HERE = ("trainer=slurm", "cluster=local", "trainer.accelerator=cpu", "trainer.devices=2")


@pytest.fixture(scope="module")
def sweep(run_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """The folder of three jobs on two ranks each, of which the third is wrong; exit code and output."""
    folder = tmp_path_factory.mktemp("sweep") / "jobs"
    words = ("trainer.max_epochs=1", "trainer.precision=32-true", "masking.ratio=0.25,0.5,2.0", "per_device_batch=null")
    process = start(command("-m", *TINY, *HERE, *words, f"data.pack={run_pack}", f"hydra.sweep.dir={folder}"))
    output = process.communicate(timeout=300)[0].decode()
    return folder, process.returncode, output


@pytest.mark.slow
def test_each_job_is_one_run_with_every_step_once(sweep: tuple[Path, int, str]) -> None:
    tables = sorted(sweep[0].glob("**/metrics.csv"))
    assert [table.parent.name for table in tables] == ["0", "1"], sweep[2]
    for table in tables:
        with table.open(newline="") as stream:
            assert [int(row["step"]) for row in csv.DictReader(stream)] == list(range(1, 11))
        assert read_checkpoint(table.parent / "best.ckpt")["global_step"] > 0


@pytest.mark.slow
def test_the_table_waits_for_the_jobs_and_names_the_wrong_one(sweep: tuple[Path, int, str]) -> None:
    folder, code, output = sweep
    assert code == 1
    assert "error: job 2: masking.ratio is 2.0" in output
    table = (folder / "sweep.md").read_text()
    assert "job 2 (masking.ratio=2.0) failed" in table
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")][2:]
    assert [row[0].strip() for row in rows] == ["0", "1"]
    assert all(cell.strip() for row in rows for cell in row)


@pytest.mark.slow
def test_a_job_at_its_time_limit_goes_on_in_the_same_run(run_pack: Path, one_rank: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = start(command(*in_float64(run_pack, run_dir, devices=2), *HERE))
    assert process.wait(timeout=120) == 0  # it only submits
    wait_for_step(run_dir, 5)
    for rank in pids("submitit.core._submit", str(run_dir)):
        os.kill(rank, signal.SIGUSR2)

    deadline = time.monotonic() + 200
    while len(list((run_dir / "cluster").glob("*_result.pkl"))) < 2:  # which each rank leaves at its end
        assert time.monotonic() < deadline, "the job has not ended"
        time.sleep(0.1)

    printed = "".join(path.read_text() for path in (run_dir / "cluster").glob("*_0_log.err"))
    assert "told to stop at step" in printed
    assert "going on from" in printed
    assert relative_distance(final_state(one_rank), final_state(run_dir)) < EXACT
