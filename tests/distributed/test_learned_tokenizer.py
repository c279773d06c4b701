"""Ranks change nothing but rounding where a network with weights gives the targets (R3, R4)."""

import signal
from pathlib import Path

import pytest
from teachers import SMALL, saved, teacher
from training_runs import EXACT, command, final_state, finish, in_float64, relative_distance, start, stop_at


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small ViT in MGCA's place."""
    file = saved(teacher(img_size=32), tmp_path_factory.mktemp("teacher"))
    sizes = [f"+tokenizer.model_kwargs.{key}={value}" for key, value in SMALL.items()]
    return ["tokenizer=mgca_vit_b", f"tokenizer.weights={file}", "tokenizer.image_size=32", *sizes]


@pytest.fixture(scope="module")
def one_rank_learned(words: list[str], run_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "one"
    finish(start(command(*in_float64(run_pack, run_dir, devices=1), *words)))
    return run_dir


@pytest.mark.slow
def test_two_ranks_equal_one(words: list[str], run_pack: Path, one_rank_learned: Path, tmp_path: Path) -> None:
    finish(start(command(*in_float64(run_pack, tmp_path / "run", devices=2), *words)))
    assert relative_distance(final_state(one_rank_learned), final_state(tmp_path / "run")) < EXACT


@pytest.mark.slow
def test_a_killed_run_goes_on_with_fewer_ranks(
    words: list[str], run_pack: Path, one_rank_learned: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    process = start(command(*in_float64(run_pack, run_dir, devices=2), *words))
    stop_at(process, run_dir, 7, signal.SIGKILL)
    finish(start(command(f"resume={run_dir}", "trainer.devices=1", "data.per_device_batch=2")))
    assert relative_distance(final_state(one_rank_learned), final_state(run_dir)) < EXACT
