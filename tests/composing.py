"""Compose the configurations of the entry points without running them."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from evax.config import register_schemas

REPOSITORY = Path(__file__).parents[1]
CONF = REPOSITORY / "conf"
BRIEF = (  # a fine-tuning of seconds, on films of 32 pixels
    *("image_size=32", "batch_size=16", "trainer.accelerator=cpu", "trainer.precision=32-true"),
    *("trainer.max_epochs=1", "optim.warmup_epochs=0.0", "data.fit_on=[train]"),
)


def composed(*overrides: str, root: str = "train") -> DictConfig:
    """The configuration of `python {root}.py {overrides}`."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(root, overrides=list(overrides))
