"""Runs as jobs: what SLURM is asked for, the work of the ranks that it starts, and the wait for a multirun's jobs.

Imports submitit only where it is used, so that a configuration that names a cluster can be checked without it.
"""

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from evax.checkpoints.weight_files import CONFIG
from evax.commands.train.job import FAILED, FINISHED, SUBMITTED, note, running
from evax.config import JOB, ConfigError, explain, instantiate
from evax.runs.launch import held

FOLDER = "cluster"  # of a run directory: the submitted script and what the ranks print
log = logging.getLogger(__name__)
_submitted: list[tuple[Path, Any]] = []  # run directories and submitit's jobs, of this process


class Size(NamedTuple):
    """What a run needs: one rank per device."""

    name: str
    nodes: int
    devices: int
    has_gpus: bool

    def parameters(self) -> dict[str, int]:
        """Under submitit's names."""
        gpus = {"gpus_per_node": self.devices} if self.has_gpus else {}
        return {"nodes": self.nodes, "tasks_per_node": self.devices, **gpus}


@dataclass(frozen=True)
class Slurm:
    """What a job asks of SLURM; None leaves it to the cluster's defaults."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    hours: float | int = 24  # of one stretch; the job goes on after it
    mem_gb: float | int | None = None  # of a node
    cpus_per_task: int = 8  # of a rank: its loader's workers
    requeues: int = 100  # stretches after the first
    grace_s: int = 120  # before the time limit: for the step in progress and a checkpoint
    setup: Sequence[str] = ()  # shell lines before the ranks start
    extra: Mapping[str, Any] = field(default_factory=dict)  # other options of sbatch, by name

    def __post_init__(self) -> None:
        _check_numbers(hours=self.hours, mem_gb=self.mem_gb, cpus_per_task=self.cpus_per_task, grace_s=self.grace_s)

    def check(self, size: Size) -> None:
        """Refuse to submit where it cannot work."""
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise ConfigError(
                "cluster=slurm: there is no sbatch here; submit on a login node, or use cluster=local or trainer=ddp"
            )

    def executor(self, folder: Path, size: Size) -> Any:
        """submitit's executor for one job of nodes x devices ranks; a rank that fails ends them all."""
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder, max_num_timeout=self.requeues)
        chosen = {key: getattr(self, key) for key in ("partition", "account", "qos", "constraint")}
        memory = {} if self.mem_gb is None else {"mem": f"{round(self.mem_gb * 1024)}M"}
        executor.update_parameters(
            **{key: value for key, value in chosen.items() if value is not None},
            **memory,
            **{key.replace("tasks_per_node", "ntasks_per_node"): value for key, value in size.parameters().items()},
            job_name=size.name,
            time=round(self.hours * 60),
            cpus_per_task=self.cpus_per_task,
            signal_delay_s=self.grace_s,
            setup=list(self.setup),
            additional_parameters={"requeue": True, **self.extra},
            srun_args=["--kill-on-bad-exit=1", f"--cpus-per-task={self.cpus_per_task}"],  # newer SLURM does not inherit
            wckey=None,
        )
        return executor


@dataclass(frozen=True)
class Local:
    """The same job as processes of this machine, all jobs of a multirun at once: to try things out."""

    hours: float | int = 24
    requeues: int = 5
    grace_s: int = 120
    setup: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_numbers(hours=self.hours, grace_s=self.grace_s)

    def check(self, size: Size) -> None:
        """Refuse to submit where it cannot work."""
        if size.nodes != 1:
            raise ConfigError(f"trainer.num_nodes={size.nodes}: cluster=local is one machine; use trainer.num_nodes=1")

    def executor(self, folder: Path, size: Size) -> Any:
        """submitit's executor for processes."""
        from submitit import LocalExecutor

        executor = LocalExecutor(folder, max_num_timeout=self.requeues)
        executor.update_parameters(
            **size.parameters(),
            timeout_min=self.hours * 60,
            signal_delay_s=self.grace_s,
            setup=list(self.setup),
        )
        return executor


@dataclass(frozen=True)
class Rank:
    """The work of each task of a job: one rank of the run in `run_dir`, under the configuration that is saved there."""

    run_dir: str

    def __call__(self) -> dict[str, float]:
        """Train from the newest checkpoint; then, on the first rank, do what follows. Returns the last metrics."""
        from submitit import JobEnvironment

        job, run_dir = JobEnvironment(), Path(self.run_dir)
        is_first = job.global_rank == 0
        logging.basicConfig(level=logging.INFO if is_first else logging.WARNING, format="%(message)s")
        if job.cluster == "local":  # to Lightning, what SLURM's own variables say
            port = 20000 + int(job.raw_job_id) % 40000
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_RANK": str(job.local_rank)}
        try:
            return _work(run_dir, is_first=is_first)
        except Exception as error:
            note_outcome(run_dir, explain(error))
            raise

    def checkpoint(self) -> Any:
        """To submitit: what a requeued job does is the same again, as the run directory knows how far it is."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _work(run_dir: Path, *, is_first: bool) -> dict[str, float]:
    """Fit and follow; a time limit's signal ends in a requeue once the checkpoint is written."""
    from submitit import JobEnvironment

    from evax.callbacks.preemption import Preempted
    from evax.commands.train.fit import fit
    from evax.commands.train.follow import follow
    from evax.runs.settings import pinned

    if is_first:
        note(run_dir, **running())
    cfg = OmegaConf.load(run_dir / CONFIG)
    assert isinstance(cfg, DictConfig)
    try:
        with held(run_dir) if is_first else nullcontext():
            metrics = fit(pinned(cfg), run_dir)
    except Preempted as stop:
        if not stop.to_be_continued:
            raise
        if not is_first:  # not 143: srun would end the first rank, which has yet to requeue
            raise SystemExit(0) from stop
        note(run_dir, state=SUBMITTED)
        signal.raise_signal(signal.Signals[f"SIG{JobEnvironment.USR_SIG}"])  # submitit's handler requeues and exits
        raise
    if is_first:
        metrics |= follow(run_dir)
        note_outcome(run_dir, None)
    return metrics


def size_of(cfg: DictConfig) -> Size:
    """Nodes and devices of a run; they must be numbers, as this machine cannot look at the nodes."""
    for key in ("devices", "num_nodes"):
        if not isinstance(cfg.trainer[key], int) or cfg.trainer[key] < 1:
            raise ConfigError(f"trainer.{key}={cfg.trainer[key]}: a job needs their number; trainer.{key}=8, say")
    return Size(cfg.name, cfg.trainer.num_nodes, cfg.trainer.devices, cfg.trainer.accelerator != "cpu")


def check_cluster(cfg: DictConfig) -> None:
    """Say what a submission lacks on this machine."""
    if find_spec("submitit") is None:
        raise ConfigError("trainer=slurm needs submitit; pip install -e '.[slurm]'")
    instantiate(cfg.cluster).check(size_of(cfg))


def submit(cfg: DictConfig, run_dir: Path) -> None:
    """Hand the run in `run_dir`, whose settled configuration is saved there, to the cluster of the configuration."""
    from submitit.core.utils import FailedJobError

    run_dir = run_dir.absolute()
    executor = instantiate(cfg.cluster).executor(run_dir / FOLDER, size_of(cfg))
    try:
        job = executor.submit(Rank(str(run_dir)))
    except FailedJobError as error:
        raise ConfigError(f"the cluster refused the job: {' '.join(str(error).split())}") from error
    _submitted.append((run_dir, job))
    log.info("job %s: %s (output of its ranks in %s)", job.job_id, run_dir, run_dir / FOLDER)


def wait_for_jobs(folder: Path) -> None:
    """Wait for the jobs that this process has submitted, and note in the folder of each how it failed."""
    if not _submitted:
        return
    later = f"`python -m evax.report sweep {folder}` makes the table"
    log.info("waiting for %d jobs; Ctrl-C leaves those of SLURM alone, and %s", len(_submitted), later)
    try:
        for run_dir, job in _submitted:
            if job.exception() is not None:
                note_outcome(run_dir, f"job {job.job_id} ended without a result; see {run_dir / FOLDER}")
    except KeyboardInterrupt:
        sys.exit(f"not waiting any more; when the jobs have ended, {later}")
    finally:
        _submitted.clear()


def note_outcome(run_dir: Path, error: str | None) -> None:
    """Enter how a job of a multirun ended, where it is one; of several errors the first stays."""
    if error is None:
        note(run_dir, state=FINISHED, error=None)
    elif (run_dir / JOB).exists() and json.loads((run_dir / JOB).read_text(encoding="utf-8")).get("error") is None:
        with suppress(FileNotFoundError):  # another rank has just noted its own
            note(run_dir, state=FAILED, error=error)


def _check_numbers(**numbers: Any) -> None:
    for key, value in numbers.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if value is not None and not is_number:
            raise ConfigError(f"cluster.{key}={value} is not a number above 0")
