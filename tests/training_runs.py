"""Tiny but complete pre-training runs: as a process that can be killed, and what to compare afterwards."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import torch
from forked import Forked

from evax.checkpoints.files import newest_valid, read_checkpoint
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource

Process: TypeAlias = Forked | subprocess.Popen[bytes]

REPOSITORY = Path(__file__).parents[1]
STEPS = 30  # optimizer steps of a whole run: 3 epochs of 10
EXACT = 1e-12  # relative, in float64: ranks measure 3e-15, while one wrong sample moves weights by many orders more

# Augmentation, accumulation over two micro-batches, drop path and an average of the weights, all on.
TINY = (
    "--config-dir=tests/conf",
    "backbone=mite",
    "~backbone.initialise",
    "image_size=32",
    "batch_size=4",
    "per_device_batch=2",
    "masking.ratio=0.5",
    "optim.warmup_epochs=0.5",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
    "callbacks=ema",
    "~callbacks.feature_probe",
    "~callbacks.pictures",
    "~callbacks.progress",
    "callbacks.checkpointing.every_n_steps=3",
)


def make_pack(folder: Path) -> Path:
    """A phantom pack with 40 films to train on and 6 to validate on, 32 pixels wide."""
    prepare(PhantomSource(num_films=58, seed=1, films_per_patient=1, size=64), folder, size=32, workers=0)
    return folder


def command(*overrides: str, script: Path = REPOSITORY / "train.py") -> list[str]:
    """The command line of a run."""
    return [sys.executable, str(script), *overrides]


def in_float64(pack: Path, run_dir: Path, devices: int) -> list[str]:
    """The overrides of a tiny run in which ranks may differ by rounding only."""
    return [
        *TINY,
        f"data.pack={pack}",
        f"hydra.run.dir={run_dir}",
        "trainer.precision=64-true",
        f"trainer.devices={devices}",
        f"data.per_device_batch={min(2, 4 // devices)}",
    ]


def start(words: list[str], **variables: str) -> Process:
    """Start a run in a process group of its own, single-threaded; a script begins with its imports done."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "EVAX_TRACEBACK": "1"} | variables
    if words[1].endswith(".py"):
        return Forked(words, REPOSITORY, environment)
    return subprocess.Popen(
        words,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: Process, expected: int = 0) -> str:
    """Wait for the end, assert the exit code, and return what was printed."""
    output = process.communicate(timeout=300)[0].decode()
    assert process.returncode == expected, output[-4000:]
    return output


def wait_for_step(run_dir: Path, step: int, process: Process | None = None) -> None:
    """Wait until the metrics table has reached `step`, or `process` has ended too early."""
    deadline = time.monotonic() + 120
    while last_step(run_dir) < step:
        if process is not None:
            assert process.poll() is None, process.communicate()[0].decode()[-4000:]
        assert time.monotonic() < deadline, f"step {step} was never reached"
        time.sleep(0.01)


def pids(*words: str, **variables: str) -> list[int]:
    """Processes whose command line holds all words, and that were started with these variables."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, environment = ((folder / name).read_bytes().decode() for name in ("cmdline", "environ"))
        except (OSError, UnicodeDecodeError):
            continue
        settings = {f"{key}={value}" for key, value in variables.items()}
        if all(word in line for word in words) and settings <= set(environment.split("\0")):
            found.append(int(folder.name))
    return found


def stop_at(process: Process, run_dir: Path, step: int, number: signal.Signals) -> None:
    """Send a signal as soon as the metrics table has reached `step`: SIGKILL to the whole group."""
    wait_for_step(run_dir, step, process)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
        process.communicate()
    else:
        process.send_signal(number)


def last_step(run_dir: Path) -> int:
    """The newest step of metrics.csv, 0 before there is one."""
    table = run_dir / "metrics.csv"
    steps = re.findall(r"^(\d+),", table.read_text(), re.MULTILINE) if table.exists() else []
    return int(steps[-1]) if steps else 0


def final_state(run_dir: Path) -> dict[str, Any]:
    """Weights, their average and the optimizer after the last step."""
    path = newest_valid(run_dir / "checkpoints")
    assert path is not None
    assert path.name == f"step-{STEPS:06d}.ckpt"
    state = read_checkpoint(path)
    return {key: state[key] for key in ("state_dict", "current_model_state", "optimizer_states") if key in state}


def without_averages(state: dict[str, Any]) -> dict[str, Any]:
    """The same without BatchNorm's running averages, which see every micro-batch of one rank alone."""
    weights = {name: each for name, each in state["state_dict"].items() if "running_" not in name}
    return state | {"state_dict": weights}


def digest(state: Any) -> str:
    """sha256 over every tensor and plain value, in order."""
    sha = hashlib.sha256()
    for name, value in flat(state):
        sha.update(name.encode())
        sha.update(value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())
    return sha.hexdigest()


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested dicts and lists with their paths."""
    if isinstance(value, dict):
        for key in value:
            yield from flat(value[key], f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from flat(item, f"{path}[{i}]")
    else:
        yield path, value


def relative_distance(state: Any, other: Any) -> float:
    """Norm of the difference of all floating tensors over the norm of the first state's."""
    pairs = [
        (a.double(), b.double())
        for (_, a), (_, b) in zip(flat(state), flat(other), strict=True)
        if isinstance(a, torch.Tensor) and a.is_floating_point()
    ]
    difference = sum(float((a - b).square().sum()) for a, b in pairs)
    return (difference / sum(float(a.square().sum()) for a, _ in pairs)) ** 0.5


def table(run_dir: Path) -> list[str]:
    """The rows of metrics.csv."""
    return (run_dir / "metrics.csv").read_text().splitlines()
