"""Weights & Biases as a copy of metrics.csv: numbers only, offline unless told otherwise."""

import hashlib

from lightning.pytorch.loggers import WandbLogger


def wandb_logger(save_dir: str, project: str = "evax", *, offline: bool = True) -> WandbLogger:
    """A W&B logger that records the metrics it is given and nothing else.

    W&B's defaults store console output, the command line, the git state and the machine, where patient paths can
    hide; all of that is off. Checkpoints are never uploaded.
    """
    from wandb import Settings  # slow to import, and only wanted here

    settings = Settings(
        console="off",
        disable_git=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
    )
    run_id = hashlib.sha256(save_dir.encode()).hexdigest()[:12]  # a resumed run goes on under its id
    return WandbLogger(
        project=project,
        save_dir=save_dir,
        id=run_id,
        resume="allow",
        offline=offline,
        log_model=False,
        settings=settings,
    )
