"""Ranks that torchrun or srun started: who they are, and how they come to one run directory without a message.

Every rank composes the same configuration. The first one writes it; a run directory that holds this very run is gone
on with, which is what a restart by torchrun or a requeue by SLURM needs.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from evax.checkpoints.names import CONFIG
from evax.config import ConfigError, multirun_job

log = logging.getLogger(__name__)

LOCK = ".lock"  # in a run directory
INTERACTIVE = ("bash", "interactive")  # SLURM's job names of a shell, in which nothing was started as a rank


class Launch(NamedTuple):
    """This process among the ranks that a launcher started."""

    rank: int
    world_size: int
    per_node: int


def launched() -> Launch | None:
    """What torchrun's or srun's variables say; None for a process that starts its ranks itself."""
    names = os.environ
    if "TORCHELASTIC_RUN_ID" in names:
        return Launch(int(names["RANK"]), int(names["WORLD_SIZE"]), int(names["LOCAL_WORLD_SIZE"]))
    ranks = int(names.get("SLURM_NTASKS", "1"))
    if "SLURM_PROCID" not in names or ranks == 1 or names.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    return Launch(int(names["SLURM_PROCID"]), ranks, ranks // int(names.get("SLURM_NNODES", "1")))


def is_first_rank() -> bool:
    """Whether this process is the one that writes."""
    launch = launched()
    return launch is None or launch.rank == 0


def check_launch(cfg: DictConfig, hydra_overrides: Sequence[str]) -> None:
    """Refuse what ranks that were started from outside cannot agree on."""
    launch = launched()
    if launch is None:
        return
    if cfg.cluster is not None:
        raise ConfigError("trainer=slurm starts the ranks itself; leave torchrun or srun out")
    if multirun_job() is not None:
        raise ConfigError("-m starts the ranks of each job itself; leave torchrun or srun out and use trainer=ddp")
    if launch.rank == 0 and may_not_restart():
        log.warning(
            "torchrun keeps what ranks told each other before a restart, after which they may wait for ever (PyTorch "
            "issue 135712): start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
        )
    if cfg.resume is None and not any(word.startswith("hydra.run.dir=") for word in hydra_overrides):
        raise ConfigError(
            f"the {launch.world_size} ranks of torchrun or srun need one name for their run directory; "
            "add hydra.run.dir=runs/NAME"
        )


def may_not_restart() -> bool:
    """Whether torchrun is to restart ranks, and lets them share the store that told them of one another before."""
    names = os.environ
    return names.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and int(names.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0


def placed(cfg: DictConfig) -> DictConfig:
    """The configuration with the devices and nodes that a launcher has decided on."""
    launch = launched()
    if launch is None:
        return cfg
    cfg = cfg.copy()
    with open_dict(cfg):
        cfg.trainer.devices = launch.per_node
        cfg.trainer.num_nodes = launch.world_size // launch.per_node
    return cfg


def difference(cfg: DictConfig, run_dir: Path, free: Sequence[str]) -> str | None:
    """In which key the settled `cfg` is not the run that `run_dir` holds; None where it is.

    The keys in `free` say where a run runs, and are left out.
    """
    if not (run_dir / CONFIG).exists():
        return f"without {CONFIG}"
    there, here = OmegaConf.load(run_dir / CONFIG), OmegaConf.create(OmegaConf.to_yaml(cfg))
    return next(_differences(_without(there, free), _without(here, free)), None)


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    if not isinstance(there, dict) or not isinstance(here, dict):
        if there != here:
            yield f"{path} is {there} there and {here} here"
        return
    for key in dict.fromkeys([*there, *here]):
        yield from _differences(there.get(key), here.get(key), f"{path}.{key}" if path else str(key))


@contextmanager
def held(run_dir: Path, doing: str = "training this run") -> Iterator[None]:
    """Keep a second process from writing into a run directory, or another folder; ConfigError where one does already.

    A lock of the process, which ends with it however it ends. File systems without locks hold nothing.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / LOCK).open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise ConfigError(f"{run_dir}: another process is {doing}; wait for it, or stop it") from error
        except OSError:
            pass
        yield


def _without(cfg: DictConfig | ListConfig, keys: Sequence[str]) -> Any:
    content: Any = OmegaConf.to_container(cfg)
    for key in keys:
        *parents, name = key.split(".")
        node = content
        for parent in parents:
            node = node.get(parent) or {}
        node.pop(name, None)
    return content
