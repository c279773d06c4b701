"""An ablation over two processes a job: `train.py -m`."""

import csv
from pathlib import Path

import pytest
from training_runs import TINY, command, start
from wandb_file import offline_files, read_offline

from evax.checkpoints.files import read_checkpoint


@pytest.fixture(scope="module")
def sweep(run_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """The folder of three jobs on two ranks each, of which the second is wrong; exit code and output."""
    folder = tmp_path_factory.mktemp("sweep")
    words = command(
        "-m",
        *TINY,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "trainer.max_epochs=1",
        "masking.ratio=0.25,2.0,0.5",
        "logger=wandb",
        "per_device_batch=null",
        f"data.pack={run_pack}",
        f"hydra.sweep.dir={folder / 'jobs'}",
    )
    process = start(words)
    output = process.communicate(timeout=300)[0].decode()
    return folder / "jobs", process.returncode, output


def test_each_job_is_one_run_with_every_step_once(sweep: tuple[Path, int, str]) -> None:
    tables = sorted(sweep[0].glob("**/metrics.csv"))
    assert [table.parent.name for table in tables] == ["0", "2"]
    for table in tables:
        with table.open(newline="") as stream:
            assert [int(row["step"]) for row in csv.DictReader(stream)] == list(range(1, 11))
        assert read_checkpoint(table.parent / "best.ckpt")["global_step"] > 0


def test_each_job_is_one_run_of_the_dashboard(sweep: tuple[Path, int, str]) -> None:
    ids = [{read_offline(file).run.run_id for file in offline_files(sweep[0] / job)} for job in ("0", "2")]
    assert [len(each) for each in ids] == [1, 1]
    assert ids[0] != ids[1]


def test_a_wrong_job_is_named_and_stops_nothing(sweep: tuple[Path, int, str]) -> None:
    folder, code, output = sweep
    assert code == 1
    assert "error: job 1: masking.ratio is 2.0" in output
    table = (folder / "sweep.md").read_text()
    assert "job 1 (masking.ratio=2.0) failed" in table
    assert [line.split()[1] for line in table.splitlines() if line.startswith("| ")][2:] == ["0", "2"]
