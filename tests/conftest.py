"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real films: EVAX_SHARED, or ../shared/data. Skips where there is none and none was promised."""
    promised = os.environ.get("EVAX_SHARED")
    folder = Path(promised) if promised else REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder.resolve()
    if promised:
        pytest.fail(f"EVAX_SHARED={promised} is not a folder")
    pytest.skip(f"no real films: {folder} is absent; set EVAX_SHARED")


@pytest.fixture(scope="session")
def run_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The films of whole runs in processes of their own."""
    from training_runs import make_pack  # evax, which must not be imported before its run-time type checks are on

    return make_pack(tmp_path_factory.mktemp("run_pack"))
