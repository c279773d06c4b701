"""Checkpoint files that survive kills, full disks and bit rot.

torch.save writes a zip archive with a CRC per tensor. torch.load does not check them; here they are checked.
"""

import logging
import re
import shutil
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evax.checkpoints.atomic import CheckpointWriteError, first_line, replacing
from evax.checkpoints.index import forget, read_index
from evax.checkpoints.kinds import PICKLED
from evax.checkpoints.stand_ins import stand_ins, why_not
from evax.data.atomic import sha256_of

CORRUPT = "corrupt"  # folder that takes damaged files
STEP_FILES = "step-*.ckpt"
log = logging.getLogger(__name__)


class CheckpointReadError(Exception):
    """A checkpoint is missing, damaged, or holds more than tensors and plain types."""


def step_file(step: int) -> str:
    """File name of an optimizer step, `step-000123.ckpt`."""
    return f"step-{step:06d}.ckpt"


def step_of(checkpoint: Path) -> int:
    """The optimizer step in the name of a step file; -1 where there is none."""
    digits = re.findall(r"\d+", checkpoint.stem)
    return int(digits[-1]) if digits else -1


def write_checkpoint(state: Mapping[str, Any], path: str | Path) -> str:
    """Write `state` (tensors and plain types) atomically; returns the sha256 of the file.

    Raises CheckpointWriteError, with the old file intact, if the disk is full or the state is not plain.
    """
    path = Path(path)
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
        if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(temporary):
            raise CheckpointWriteError(f"the state holds {', '.join(unsafe)}, not only tensors and plain types")
        return sha256_of(temporary)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU, after its CRCs were checked; no code in the file is ever run.

    Raises CheckpointReadError naming the file.
    """
    path = Path(path)
    if damage := find_damage(path):
        raise CheckpointReadError(f"cannot read {path}: {damage}; use an older checkpoint or another copy")
    state = load_plain(path)
    if not isinstance(state, dict):
        raise CheckpointReadError(f"cannot read {path}: it holds a {type(state).__name__}, not a checkpoint")
    return state


def load_plain(path: Path, *, lazily: bool = False) -> Any:
    """`torch.load` of tensors and plain types, on the CPU; CRCs are not checked.

    `lazily` leaves the tensors on the disk until they are used: for what lies beside them.
    Raises CheckpointReadError naming the file, and what it holds that is neither.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickle protocols; the outcome is a value or one error
        if zipfile.is_zipfile(path) and (unsafe := _unsafe_globals(path)):
            raise CheckpointReadError(f"cannot read {path}: {why_not(unsafe)}")
        try:
            if lazily:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with path.open("rb") as file:  # by its content: of a path torch believes the ending
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # the unpickler meets arbitrary bytes and raises nearly anything
            raise CheckpointReadError(f"cannot read {path}: {_fault(str(error))}") from error


def load_foreign(path: Path) -> Any:
    """`load_plain` of a file of others, with stand-ins for objects that only hold data."""
    with torch.serialization.safe_globals(stand_ins(path)):
        return load_plain(path)


def _fault(error: str) -> str:
    """Why torch's reader gave up, by its message."""
    if names := re.findall(r"GLOBAL ([\w.]+)", error):
        return why_not(name if "." in name else f"builtins.{name}" for name in names[:1])
    if "Unsupported operand" in error:
        return PICKLED
    return "not a file of tensors and plain types"


def _unsafe_globals(path: Path) -> list[str]:
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # as above
        raise CheckpointReadError(f"cannot read {path}: not a file that torch.save wrote") from error


def find_damage(path: Path, sha256: str | None = None) -> str | None:
    """What is wrong with a file of `torch.save`, or None; checks its CRCs and, where given, its sha256."""
    if not path.is_file():
        return "no such file"
    if sha256 is not None and sha256_of(path) != sha256:
        return "damaged, its sha256 differs from the recorded one"
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                bad = archive.testzip()
            torch.serialization.get_unsafe_globals_in_checkpoint(path)  # torch reads headers that zipfile skips
        except Exception as error:  # damaged headers raise nearly anything, NotImplementedError included
            return f"damaged, {first_line(error)}"
    return f"damaged, the CRC of {bad} does not fit" if bad else None


def newest_valid(folder: str | Path, pattern: str = STEP_FILES) -> Path | None:
    """The intact checkpoint of the highest step, or None; damaged ones are moved to `corrupt/` and logged."""
    folder = Path(folder)
    index = read_index(folder)
    for path in sorted(folder.glob(pattern), key=step_of, reverse=True):
        damage = find_damage(path, index[path.name].sha256 if path.name in index else None)
        if damage is None:
            return path
        (folder / CORRUPT).mkdir(exist_ok=True)
        if path.is_file():
            path.replace(folder / CORRUPT / path.name)
        log.warning("%s: %s; moved to %s/, an older checkpoint is used", path, damage, CORRUPT)
    return None


def prune(folder: str | Path, keep: int, pattern: str = STEP_FILES) -> None:
    """Remove all but the `keep` highest steps; nothing is removed unless the highest is intact."""
    folder = Path(folder)
    files = sorted(folder.glob(pattern), key=step_of)
    if len(files) <= keep or find_damage(files[-1]) is not None:
        return
    removed = files[: len(files) - keep]
    for path in removed:
        path.unlink(missing_ok=True)
    forget(folder, [path.name for path in removed])


def has_room(folder: str | Path, num_bytes: int, copies: int) -> bool:
    """Whether `copies` kept checkpoints of `num_bytes` and the one being written fit beside what is there."""
    folder = Path(folder).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(existing).free >= num_bytes * (copies + 1)
