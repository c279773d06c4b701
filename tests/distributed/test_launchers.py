"""Ranks that torchrun or srun started are one run, also when they are started again."""

import csv
import os
import signal
import sys
from pathlib import Path

import pytest
from training_runs import (
    EXACT,
    REPOSITORY,
    command,
    final_state,
    finish,
    in_float64,
    pids,
    relative_distance,
    start,
    wait_for_step,
)

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=2")

OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # else ranks may read addresses of those before the restart


def steps(run_dir: Path) -> list[int]:
    with (run_dir / "metrics.csv").open(newline="") as stream:
        return [int(row["step"]) for row in csv.DictReader(stream)]


@pytest.mark.slow
def test_torchrun_goes_on_after_a_rank_was_killed(run_pack: Path, one_rank: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    words = in_float64(run_pack, run_dir, devices=1)  # torchrun decides on the devices
    process = start([*TORCHRUN, str(REPOSITORY / "train.py"), *words], **OWN_STORE)
    wait_for_step(run_dir, 5, process)
    (victim,) = pids("train.py", str(run_dir), RANK="1")
    os.kill(victim, signal.SIGKILL)

    output = finish(process)

    assert output.count("going on from") == 1  # of the first rank only
    assert steps(run_dir) == list(range(1, 31))
    assert relative_distance(final_state(one_rank), final_state(run_dir)) < EXACT


def test_ranks_of_srun_are_one_run(run_pack: Path, tmp_path: Path) -> None:
    words = command(*in_float64(run_pack, tmp_path / "run", devices=1), "trainer.max_epochs=1")
    common = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_ID": str(os.getpid())}
    common |= {"SLURM_JOB_NAME": "evax", "SLURM_NTASKS_PER_NODE": "2", "MASTER_ADDR": "127.0.0.1"}
    ranks = [start(words, **common, SLURM_PROCID=rank, SLURM_LOCALID=rank) for rank in "01"]
    for rank in ranks:
        finish(rank)
    assert steps(tmp_path / "run") == list(range(1, 11))
