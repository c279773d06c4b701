"""Reading weight files: which file a path means, and which container in it holds the tensors."""

import json
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from evax.checkpoints.files import CheckpointReadError, find_damage, load_plain, newest_valid
from evax.checkpoints.layouts import CONTAINERS, translate
from evax.data.atomic import sha256_of

CHECKPOINTS, BEST = "checkpoints", "best.ckpt"
FLAT = "flat"
NUM_NAMED = 3  # names quoted in a message


class WeightsError(Exception):
    """A file is not usable as weights; one line that names the file, the first names in it and the fix."""


class Weights(NamedTuple):
    """A file's tensors in float32 under evax's names, and how they were found."""

    file: Path
    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]
    container: str
    layout: str


def read_weights(path: str | Path, *, key: str | None = None) -> Weights:
    """The tensors of a run directory or of a file in any declared layout, under evax's names, on the CPU.

    `key` names the container in place of the usual order (`layouts.CONTAINERS`).
    """
    file = _file_of(Path(path))
    container, found = _unwrap(_read(file), key, file)
    translation = translate(found)
    tensors = {n: t.float() if t.is_floating_point() else t for n, t in translation.tensors.items()}
    return Weights(file, tensors, translation.dropped, container, translation.layout)


def quote(names: tuple[str, ...] | list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(names[:NUM_NAMED]) + more


def _file_of(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise WeightsError(f"weights={path}: no such file or folder")
    for best in (path / BEST, path / CHECKPOINTS / BEST):
        if best.is_file():
            return best
    newest = newest_valid(path / CHECKPOINTS)
    if newest is None:
        raise WeightsError(f"weights={path}: no {BEST} and no intact {CHECKPOINTS}/step-*.ckpt; name a file")
    return newest


def _read(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            _compare_with_sidecar(file)
            return load_file(file)
        if zipfile.is_zipfile(file) and (damage := find_damage(file)):
            raise WeightsError(f"cannot read {file}: {damage}; fetch it again")
        return load_plain(file, allow=(Namespace,))  # the official fine-tuned files hold their arguments
    except SafetensorError as error:
        raise WeightsError(f"cannot read {file}: {error}; fetch it again") from error
    except CheckpointReadError as error:
        raise WeightsError(str(error)) from error


def _compare_with_sidecar(file: Path) -> None:
    """Our exports record their sha256; a sidecar older than the file belongs to the one it replaced."""
    sidecar = file.with_suffix(".json")
    if not sidecar.is_file() or sidecar.stat().st_mtime_ns < file.stat().st_mtime_ns:
        return
    try:
        meta = json.loads(sidecar.read_bytes())
    except ValueError:
        return
    if isinstance(meta, dict) and meta.get("sha256", sha256 := sha256_of(file)) != sha256:
        raise WeightsError(f"cannot read {file}: its sha256 is not the one in {sidecar.name}; fetch it again")


def _unwrap(content: Any, key: str | None, file: Path) -> tuple[str, dict[str, Tensor]]:
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{file} holds a {type(content).__name__}, not a dictionary of tensors")
    names = [str(name) for name in content]
    if key is not None:
        if not _holds_tensors(content.get(key)):
            raise WeightsError(f"weights_key={key}: {file} has no tensors there; its keys are {quote(names)}")
        return key, _tensors(content[key], file)
    for container in CONTAINERS:
        if _holds_tensors(content.get(container)):
            return container, _tensors(content[container], file)
    if _holds_tensors(content):
        return FLAT, _tensors(content, file)
    raise WeightsError(
        f"{file} has no tensors under {', '.join(CONTAINERS)}; its keys are {quote(names)}: "
        "name the right one by weights_key="
    )


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values())


def _tensors(container: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    odd = [str(name) for name, value in container.items() if not isinstance(value, Tensor)]
    if odd:
        raise WeightsError(f"{file} mixes tensors with other values ({quote(odd)}); name a container by weights_key=")
    return dict(container)
