"""A process that does nothing but save checkpoints until it is killed."""

import os
import tempfile
from itertools import count
from pathlib import Path

import torch

from evax.checkpoints.files import newest_valid, read_checkpoint, step_file, write_checkpoint
from evax.checkpoints.index import Entry, record

NUM_WEIGHTS = 2_000_000  # 8 MB: a save takes tens of milliseconds, so that a random kill lands inside one


def save_forever(folder: Path, temporary_folder: Path) -> None:
    """Resume from the newest valid checkpoint and save the following steps; weights of step n are all n."""
    os.environ["TMPDIR"] = str(temporary_folder)
    tempfile.tempdir = None
    newest = newest_valid(folder)
    first = read_checkpoint(newest)["step"] + 1 if newest else 0
    for step in count(first):
        state = {"step": step, "weights": torch.full((NUM_WEIGHTS,), float(step))}
        digest = write_checkpoint(state, folder / step_file(step))
        record(folder, Entry(step_file(step), step, digest))
        (folder / f"{step}.done").touch()
        (folder / step_file(step - 3)).unlink(missing_ok=True)
