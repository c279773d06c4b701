"""A pack that every experiment can take a step on."""

from pathlib import Path

import pytest

from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory) -> Path:
    """24 phantom films of 64 pixels."""
    folder = tmp_path_factory.mktemp("packs") / "phantom"
    prepare(PhantomSource(num_films=24, seed=0, size=64), folder, size=64, workers=0)
    return folder
