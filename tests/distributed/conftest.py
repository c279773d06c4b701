"""What runs on several ranks are compared with."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def one_rank(run_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a whole run in one process, in float64."""
    from training_runs import command, finish, in_float64, start  # evax, as in tests/conftest.py

    run_dir = tmp_path_factory.mktemp("runs") / "one"
    finish(start(command(*in_float64(run_pack, run_dir, devices=1))))
    return run_dir
