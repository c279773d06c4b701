"""Fine-tuned runs, one per way to adapt."""

from pathlib import Path

import pytest
from composing import composed

from evax.commands.train.follow import follow
from evax.commands.train.start import train


def finetuned(pack: Path, run_dir: Path, *overrides: str) -> Path:
    """A scored run of two epochs on films of 32 pixels, cut from the middle of 48."""
    small = ["image_size=32", "data.resize_to=48", "batch_size=16", "trainer.max_epochs=2", "optim.warmup_epochs=0.0"]
    small += ["trainer.accelerator=cpu", "trainer.precision=bf16-mixed", f"data.pack={pack}", "optim.lr=5.0e-3"]
    train(composed("experiment=demo_finetune", *small, *overrides), run_dir)
    follow(run_dir)
    return run_dir


@pytest.fixture(scope="package")
def runs(probe_pack, tmp_path_factory):
    """A run directory by how it was adapted, and other words of its command, made when asked for."""
    made: dict[tuple[str, ...], Path] = {}

    def run(adapt: str, *words: str) -> Path:
        key = (f"adapt={adapt}", *words)
        if key not in made:
            made[key] = finetuned(probe_pack, tmp_path_factory.mktemp(adapt) / "run", *key)
        return made[key]

    return run
