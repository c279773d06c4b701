"""Fixtures that several unit tests share."""

from pathlib import Path

import pytest

from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource


@pytest.fixture(scope="session")
def pack_folder(tmp_path_factory) -> Path:
    """A pack of 60 phantom films of 64 pixels: 44 train, 10 val, 6 test, two films a patient."""
    folder = tmp_path_factory.mktemp("packs") / "phantom"
    prepare(PhantomSource(num_films=60, seed=5, size=64), folder, size=64, workers=0)
    return folder
