"""A killed run that is resumed ends bit for bit where an uninterrupted one does (R1, R2)."""

import random
import signal
from pathlib import Path

import pytest
from training_runs import STEPS, TINY, command, digest, final_state, finish, last_step, start, stop_at, table

from evax.checkpoints.files import read_checkpoint


@pytest.fixture(scope="module")
def uninterrupted(run_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    finish(start(run(run_pack, run_dir)))
    return run_dir


def run(run_pack: Path, run_dir: Path, *overrides: str) -> list[str]:
    return command(*TINY, f"data.pack={run_pack}", f"hydra.run.dir={run_dir}", *overrides)


def resume(run_dir: Path, *overrides: str) -> list[str]:
    return command(f"resume={run_dir}", *overrides)


def check_equal(run_dir: Path, uninterrupted: Path) -> None:
    best = [read_checkpoint(folder / "best.ckpt")["state_dict"] for folder in (run_dir, uninterrupted)]
    assert digest(best[0]) == digest(best[1])
    assert digest(final_state(run_dir)) == digest(final_state(uninterrupted))
    assert table(run_dir) == table(uninterrupted)


def kill_and_resume(run_pack: Path, run_dir: Path, kills: list[int], workers: list[int]) -> None:
    """SIGKILL the process group at each of some steps, then let the run end; every leg with other workers."""
    words = run(run_pack, run_dir, f"data.num_workers={workers[0]}")
    for step, next_workers in zip(kills, workers[1:], strict=True):
        process = start(words)
        stop_at(process, run_dir, step, signal.SIGKILL)
        words = resume(run_dir, f"data.num_workers={next_workers}")
    finish(start(words))


def test_kills_leave_no_trace(run_pack: Path, uninterrupted: Path, tmp_path: Path) -> None:
    kill_and_resume(run_pack, tmp_path / "run", kills=[5, 16], workers=[0, 2, 0])

    check_equal(tmp_path / "run", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_five_random_kills_leave_no_trace(seed: int, run_pack: Path, uninterrupted: Path, tmp_path: Path) -> None:
    draw = random.Random(seed)
    kills = sorted(draw.sample(range(1, STEPS), k=5))

    kill_and_resume(run_pack, tmp_path / "run", kills, workers=[draw.randrange(3) for _ in range(6)])

    check_equal(tmp_path / "run", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_change_nothing(workers: int, run_pack: Path, uninterrupted: Path, tmp_path: Path) -> None:
    finish(start(run(run_pack, tmp_path / "run", f"data.num_workers={workers}")))

    check_equal(tmp_path / "run", uninterrupted)


def test_sigterm_saves_and_exits_143(run_pack: Path, uninterrupted: Path, tmp_path: Path) -> None:
    process = start(run(run_pack, tmp_path / "run"))
    stop_at(process, tmp_path / "run", 4, signal.SIGTERM)
    output = finish(process, expected=143)
    assert "told to stop at step" in output
    assert 4 <= last_step(tmp_path / "run") < STEPS

    finish(start(resume(tmp_path / "run")))

    check_equal(tmp_path / "run", uninterrupted)


def test_every_step_has_one_row(uninterrupted: Path) -> None:
    steps = [int(row.partition(",")[0]) for row in table(uninterrupted)[1:]]
    assert steps == list(range(1, STEPS + 1))
