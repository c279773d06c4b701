"""Fixtures that several unit tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource


@pytest.fixture(scope="session", autouse=True)
def brief_reports() -> Iterator[None]:
    """Figures of few pixels, and few bootstrap draws of fine-tunings: what they say is tested where they are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evax.report.canvas.DPI", 40)
        patch.setattr("evax.commands.evaluate.best_classifier.DRAWS", 100)
        yield


@pytest.fixture(scope="session")
def probe_pack(tmp_path_factory) -> Path:
    """A pack of 120 phantom films of 64 pixels, one a patient: enough of each finding to probe."""
    folder = tmp_path_factory.mktemp("packs") / "phantom"
    prepare(PhantomSource(num_films=120, films_per_patient=1, size=64), folder, size=64, workers=0)
    return folder


@pytest.fixture(scope="session")
def pack_folder(tmp_path_factory) -> Path:
    """A pack of 60 phantom films of 64 pixels: 44 train, 10 val, 6 test, two films a patient."""
    folder = tmp_path_factory.mktemp("packs") / "phantom"
    prepare(PhantomSource(num_films=60, seed=5, size=64), folder, size=64, workers=0)
    return folder


def segmented(run_dir: Path, pack: Path, *words: str) -> Path:
    """A scored run that has segmented phantoms for an epoch, seen at 32 pixels."""
    from composing import composed

    from evax.commands.train.follow import follow
    from evax.commands.train.start import train

    small = ["image_size=32", "batch_size=8", "trainer.max_epochs=1", "model.channels=16", "data.fraction=1.0"]
    small += ["optim.lr=2.0e-3", "trainer.accelerator=cpu", "trainer.precision=bf16-mixed", f"data.pack={pack}"]
    train(composed("experiment=demo_segment", *small, *words), run_dir)
    follow(run_dir)
    return run_dir


@pytest.fixture(scope="session")
def segmented_run(pack_folder, tmp_path_factory) -> Path:
    """A scored run of the lungs as one class."""
    return segmented(tmp_path_factory.mktemp("segmented") / "run", pack_folder)


@pytest.fixture(scope="session")
def sided_run(pack_folder, tmp_path_factory) -> Path:
    """A scored run of the right and the left lung as two classes that exclude each other."""
    sides = ("~data.masks.classes.lung", "+data.masks.classes.right=[1]", "+data.masks.classes.left=[2]")
    words = ("model.loss=ce", "data.crop.flip=0.0", *sides)
    return segmented(tmp_path_factory.mktemp("sided") / "run", pack_folder, *words)
