"""Make a pack: `python prepare.py data=cxr14 raw_dir=FOLDER`; `--help` lists the choices."""

import hydra
from omegaconf import DictConfig

from evax.config import clear_errors, entry_point, register_schemas

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="prepare")
def main(cfg: DictConfig) -> None:
    """Validate an official download and write its pack."""
    with clear_errors():
        from evax.commands.prepare import prepare

        prepare(cfg)


if __name__ == "__main__":
    entry_point(main, example="data=phantom")
