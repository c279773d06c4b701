"""A multirun as W&B gets it: one group, flat settings, every step once after a kill, and nobody's name."""

import signal
from pathlib import Path

import pytest
from named_phantoms import SECRET, CredentialedPhantoms
from training_runs import TINY, command, finish, start, stop_at
from wandb_file import HostedRun, offline_files, read_offline

from evax.data.prepare import prepare

pytestmark = pytest.mark.slow  # four whole runs

STEPS, KILLED_AT = 20, 14  # of 2 epochs; the newest checkpoint is then that of step 12
DRAWN = [word for word in TINY if word != "~callbacks.pictures"]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The run directories of three jobs over credentialed films; the third was killed and went on."""
    pack = tmp_path_factory.mktemp("packs") / "phantom"
    source = CredentialedPhantoms(num_films=58, seed=1, films_per_patient=1, size=64)
    prepare(source, pack, size=32, workers=0, max_quarantine=0.1)
    assert SECRET.encode() in (pack / "index.arrow").read_bytes()
    folder = tmp_path_factory.mktemp(SECRET) / "jobs"
    words = [*DRAWN, "trainer.max_epochs=2", "callbacks.pictures.num_films=1", f"data.pack={pack}", f"name={SECRET}"]
    words += ["trainer.precision=32-true", "logger=wandb", "masking.ratio=0.25,0.4,0.5", f"hydra.sweep.dir={folder}"]
    stop_at(start(command("-m", *words)), folder / "2", KILLED_AT, signal.SIGKILL)
    finish(start(command(f"resume={folder / '2'}")))
    return [folder / str(number) for number in range(3)]


@pytest.fixture(scope="module")
def hosted(jobs: list[Path]) -> list[HostedRun]:
    return [read_offline(*offline_files(job)) for job in jobs]


def test_the_jobs_are_runs_of_one_group(hosted: list[HostedRun]) -> None:
    assert len({each.run.run_id for each in hosted}) == 3
    assert len({each.run.run_group for each in hosted}) == 1
    assert hosted[0].run.run_group.startswith("multirun-")
    assert [each.run.display_name for each in hosted] == [f"{each.run.run_group} {i}" for i, each in enumerate(hosted)]


def test_what_varied_is_a_flat_setting(hosted: list[HostedRun]) -> None:
    assert [each.config["masking.ratio"] for each in hosted] == [0.25, 0.4, 0.5]
    assert not any(isinstance(value, dict) for each in hosted for key, value in each.config.items() if key != "_wandb")


def test_films_seen_are_the_axis_of_every_row(hosted: list[HostedRun]) -> None:
    for each in hosted:
        assert each.axes["*"] == "trainer/samples_seen"
        assert all(row["trainer/samples_seen"] == 4 * row["_step"] for row in each.history)


def test_no_step_is_missing_or_repeated_after_a_kill(jobs: list[Path], hosted: list[HostedRun]) -> None:
    assert [file.name for file in offline_files(jobs[2])] == [f"run-{hosted[2].run.run_id}.wandb"] * 2
    for each in hosted:
        assert each.steps == list(range(1, STEPS + 1))
        assert [row["_step"] for row in each.history if "val/cosine" in row] == [STEPS // 2, STEPS]


def test_no_name_and_no_pixel_is_in_what_wandb_has(jobs: list[Path], hosted: list[HostedRun]) -> None:
    files = [path for job in jobs for path in job.glob("wandb/*run-*/**/*") if path.is_file()]
    sent = [path for path in files if "logs" not in path.parts]  # which stay here, and name the run directory
    assert sum(path.suffix == ".wandb" for path in sent) == 4
    assert [path.name for path in sent if SECRET.encode() in path.read_bytes() or SECRET in path.name] == []
    assert [path.name for path in files if f"-{SECRET}".encode() in path.read_bytes()] == []  # as ids have it
    assert (jobs[0] / "figures" / f"step-{STEPS:06d}.png").exists()
    assert not any("media" in name for each in hosted for name in each.files)
