"""Reading weight files: which file a path means, and which container in it holds the tensors."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from evax.checkpoints.errors import WeightsError, quote
from evax.checkpoints.files import CheckpointReadError, find_damage, load_foreign
from evax.checkpoints.kinds import check_kind, is_safetensors
from evax.checkpoints.layouts import BESIDE, CONTAINERS, Layout, translate
from evax.checkpoints.lora import merged
from evax.checkpoints.names import BEST, CHECKPOINTS, CONFIG
from evax.checkpoints.published import missing_weights
from evax.checkpoints.stand_ins import StandIn
from evax.checkpoints.weight_folders import CONFIG_JSON, HUB_FILES, file_in
from evax.data.atomic import sha256_of
from evax.data.normalisation import Normalisation

__all__ = ["BEST", "CHECKPOINTS", "CONFIG", "Content", "Weights", "find_file", "read_content"]
__all__ += ["read_weights", "recorded_normalisation", "under_timm_names"]
FLAT = "flat"
MAX_DEPTH = 3  # of containers in containers

Unwrapped = tuple[str, dict[str, Tensor], tuple[str, ...]]  # a container's name, its tensors, and what is left out


class Content(NamedTuple):
    """A weight file as it is: tensors under its own names, the container that held them, and what lay beside it."""

    file: Path
    container: str
    tensors: dict[str, Tensor]
    beside: dict[str, Any]  # other top-level values; of an export, those of its `.json`
    dropped: tuple[str, ...] = ()  # names of numbers and words among the tensors


class Weights(NamedTuple):
    """A file's tensors in float32 under timm's names, and how they were found."""

    file: Path
    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]
    container: str
    layout: str
    normalisation: Normalisation | None = None  # of images, where the file or its layout tells
    absent: str = Layout.absent  # names of the model that files of the layout may lack


def read_weights(path: str | Path, *, key: str | None = None) -> Weights:
    """The tensors of a run directory or of a file in any declared layout, under timm's names, on the CPU.

    `key` names the container in place of the usual order (`layouts.CONTAINERS`).
    """
    return under_timm_names(read_content(path, key=key))


def read_content(path: str | Path, *, key: str | None = None) -> Content:
    """A file, or the best checkpoint of a run directory, under its own names."""
    file = find_file(path)
    check_kind(file)
    told = _sidecar(file) if file.suffix == ".safetensors" else {}
    content = _read(file)
    container, tensors, dropped = _unwrap(content, key, file)
    if not is_safetensors(file):
        top = container.partition(".")[0]
        told |= {str(name): value for name, value in content.items() if top not in (FLAT, name)}
    return Content(file, container, tensors, _hub_facts(file) | told, dropped)


def under_timm_names(content: Content) -> Weights:
    """The tensors that belong to an image encoder, adapters merged, renamed, in float32."""
    try:
        kept, dropped, layout = translate(merged(content.tensors))
    except ValueError as error:
        raise WeightsError(f"{content.file}: {error}") from error
    tensors = {n: t.float() if t.is_floating_point() else t for n, t in kept.items()}
    normalisation = recorded_normalisation(content.beside) or layout.normalisation
    dropped += content.dropped
    return Weights(content.file, tensors, dropped, content.container, layout.name, normalisation, layout.absent)


def find_file(path: str | Path) -> Path:
    """The file that `weights=` means: itself, or that of a folder (`file_in`)."""
    path = Path(path)
    if path.is_dir():
        return file_in(path)
    if not path.is_file():
        raise missing_weights("weights", path)
    return path


def _read(file: Path) -> Any:
    try:
        if is_safetensors(file):
            return load_file(file)
        if zipfile.is_zipfile(file) and (damage := find_damage(file)):
            raise WeightsError(f"cannot read {file}: {damage}; fetch it again")
        return load_foreign(file)
    except SafetensorError as error:
        raise WeightsError(f"cannot read {file}: {error}; fetch it again") from error
    except CheckpointReadError as error:
        raise WeightsError(str(error)) from error


def _hub_facts(file: Path) -> dict[str, Any]:
    """What timm's `config.json` says of a file of the hub beside it; nothing of any other file."""
    config = file.with_name(CONFIG_JSON)
    try:
        told = json.loads(config.read_bytes()) if file.name in HUB_FILES and config.is_file() else {}
    except ValueError:
        return {}
    facts: dict[str, Any] = {}
    match told:
        case {"architecture": str(name)}:
            facts["architecture"] = {"name": name}
    match told:
        case {"pretrained_cfg": {"mean": [_, _, _] as mean, "std": [_, _, _] as std}}:
            facts["preprocessing"] = {"mean": mean, "std": std}
    return facts


def _sidecar(file: Path) -> dict[str, Any]:
    """What our export wrote beside a file; WeightsError where the sha256 in it is another file's.

    The content alone decides: a copy may give both files any time.
    """
    sidecar = file.with_suffix(".json")
    try:
        meta = json.loads(sidecar.read_bytes()) if sidecar.is_file() else {}
    except ValueError:
        return {}
    if not isinstance(meta, dict):
        return {}
    if "sha256" in meta and meta["sha256"] != sha256_of(file):
        raise WeightsError(
            f"cannot read {file}: its sha256 is not the one in {sidecar.name}; copy or fetch both again, "
            f"or remove {sidecar.name} if it belongs to another file"
        )
    return meta


def recorded_normalisation(beside: Mapping[str, Any]) -> Normalisation | None:
    """Of our exports and checkpoints: `preprocessing` with a mean and a std per channel."""
    match beside.get("preprocessing"):
        case {"mean": [_, _, _] as mean, "std": [_, _, _] as std}:
            return Normalisation((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
    return None


def _unwrap(content: Any, key: str | None, file: Path) -> Unwrapped:
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{file} holds a {type(content).__name__}, not a dictionary of tensors")
    if key is not None:
        return _asked(content, key, file)
    for container in CONTAINERS:
        if _holds_tensors(content.get(container)):
            return container, *_tensors(content, container, content[container], file)
    if _holds_tensors(content):
        return FLAT, *_tensors(content, FLAT, content, file)
    places = list(_places(content))
    inner = [value for each in content.values() if isinstance(each, Mapping) for value in each.values()]
    if not places and any(isinstance(value, StandIn) for value in [*content.values(), *inner]):
        raise WeightsError(
            f"{file} holds objects such as numpy's arrays, and no tensors; make tensors of them, torch.as_tensor(ARRAY)"
        )
    keys = quote([str(name) for name in content])
    advice = f": name the right one by weights_key={' or '.join(places)}" if places else "; it holds no tensors at all"
    raise WeightsError(f"{file} has no tensors under {', '.join(CONTAINERS)}; its keys are {keys}{advice}")


def _asked(content: Mapping[Any, Any], key: str, file: Path) -> Unwrapped:
    """The container of a key, through dots, or the tensors whose names begin with it."""
    places = _places(content)
    if key in places:
        return key, *_tensors(content, key, places[key], file)
    containers = [(name, content[name]) for name in CONTAINERS if _holds_tensors(content.get(name))]
    for name, container in [*containers, (FLAT, content)]:
        tensors = {n.removeprefix(f"{key}."): t for n, t in _named(container) if n.startswith(f"{key}.")}
        if _holds_tensors(tensors):
            return f"{name}.{key}", *_tensors(content, f"{name}.{key}", tensors, file)
    keys = [str(name) for name in content]
    raise WeightsError(f"weights_key={key}: {file} has no tensors there; its keys are {quote(keys)}")


def _places(content: Mapping[Any, Any], above: str = "") -> dict[str, Mapping[Any, Any]]:
    """All containers of tensors in a file but an optimiser's, by their path of keys."""
    found: dict[str, Mapping[Any, Any]] = {}
    for name, value in content.items():
        place = f"{above}{name}"
        if _holds_tensors(value):
            found[place] = value
        if isinstance(value, Mapping) and not BESIDE.match(str(name)) and place.count(".") < MAX_DEPTH:
            found |= _places(value, f"{place}.")
    return found


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Tensor) for v in value.values())


def _named(container: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    return ((str(name), value) for name, value in container.items())


def _tensors(
    content: Mapping[Any, Any], name: str, container: Mapping[Any, Any], file: Path
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a container, and the names of the numbers and words among them, which are left out.

    What modules keep beside their tensors (`_extra_state`) is passed over. WeightsError where there is anything else,
    or, in a file that is no container (FLAT), numbers and words: its tensors may not be the weights.
    """
    values = {name: value for name, value in _named(container) if not name.endswith("_extra_state")}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    plain = tuple(n for n, value in values.items() if value is None or isinstance(value, (bool, int, float, str)))
    odd = [n for n in values if n not in tensors and (name == FLAT or n not in plain)]
    if odd:
        others = [f"weights_key={place}" for place in _places(content) if place != name]
        advice = f"name the right container by {' or '.join(others)}" if others else "save its tensors alone"
        raise WeightsError(f"{file} mixes tensors with other values ({quote(odd)}); {advice}")
    return tensors, plain
