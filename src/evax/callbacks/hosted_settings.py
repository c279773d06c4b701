"""What a hosted logger may know of a run: names and settings that are derived, never a path, file name or id."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from evax.data.manifest import MANIFEST

COPIES = ("model.backbone", "model.tokenizer", "model.optim", "data.masking")  # stand elsewhere under their own names
# Where and how a run is watched, and free text, which may name a patient.
NO_SETTING = ("name", "paths", "logger", "callbacks", "cluster", "then", "sweep", "resume", "tokenizer.origin")
PATH = re.compile(
    r"[/\\~]|\.(ckpt|pth?|bin|np[yz]|safetensors|json|yaml|csv|parquet|png|jpe?g|dcm|dicom|zip|gz|tar)\b", re.IGNORECASE
)
TIME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")  # folders of Hydra, see conf/train.yaml
FETCHED = re.compile(r"fetch (\w+)`")  # conf/tokenizer/*.yaml: the name of published weights
ID = ".wandb_id"  # in a run directory
JOB = "job.json"  # which `train.py -m` leaves in the folder of a job


class Names(NamedTuple):
    """How a run is listed: its id, its name, and the multirun that it is a job of."""

    id: str
    name: str
    group: str | None


def names(run_dir: Path, config: Mapping[str, Any]) -> Names:
    """The run's own id, and names from where it is; folders show as times or as digests."""
    own, digest = own_id(run_dir), _digest(run_dir)
    if (run_dir / JOB).is_file():
        group = _time(run_dir.parent) or f"multirun-{_digest(run_dir.parent)[:6]}"
        number = run_dir.name if run_dir.name.isdigit() else digest[:6]
        return Names(own, f"{group} {number}", group)
    return Names(own, " ".join([*tags(config), _time(run_dir) or digest[:6]]), None)


def own_id(run_dir: Path) -> str:
    """Drawn once and kept in the run directory: a resumed run has it again, another run of the same name never."""
    run_dir.mkdir(parents=True, exist_ok=True)
    draft = run_dir / f"{ID}.{secrets.token_hex(6)}"
    draft.write_text(secrets.token_hex(6), encoding="ascii")
    with suppress(FileExistsError):  # another rank's came first
        (run_dir / ID).hardlink_to(draft)
    draft.unlink()
    return (run_dir / ID).read_text(encoding="ascii")


def flat_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decided a run, as "masking.ratio": 0.3; without paths, and without what stands there twice.

    A part is known by its name: "tokenizer.name" is `mgca_vit_b`, "masking.name" is `UniformMasking`.
    """
    derived = {f"{part}.name": chosen(config, part) for part in ("tokenizer", "masking", "data", "model")}
    leaves = {key: value for key, value in _leaves(config) if not key.endswith("_target_")}
    return {
        key: value
        for key, value in (leaves | derived).items()
        if value is not None and not _is_below(key, (*COPIES, *NO_SETTING)) and not _may_be_path(key, value)
    }


def tags(config: Mapping[str, Any]) -> list[str]:
    """Backbone, tokenizer and data by their names."""
    found = [chosen(config, part) for part in ("backbone", "tokenizer", "data")]
    return [name for name in found if name and not _may_be_path("", name)]


def chosen(config: Mapping[str, Any], part: str) -> str | None:
    """What an axis was set to: the name of published weights, a backbone's or timm's name, else its class."""
    node = config.get(part) or {}
    if part == "backbone":
        return str(node.get("published") or node["name"]) if node.get("name") else None
    if "model" in node:
        fetched = FETCHED.search(str(node.get("origin") or ""))
        return fetched[1] if fetched else str(node["model"])
    return str(node["_target_"]).rpartition(".")[2] if "_target_" in node else None


def share(config: Mapping[str, Any]) -> Literal["public", "credentialed"]:
    """How the run's pack may be shared; a union of packs, or one that does not say, is taken for credentialed."""
    manifest = Path((config.get("data") or {}).get("pack") or "") / MANIFEST
    is_public = manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")).get("share") == "public"
    return "public" if is_public else "credentialed"


def _digest(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:12]


def _time(folder: Path) -> str | None:
    return folder.name if TIME.fullmatch(folder.name) else None


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_below(key: str, roots: tuple[str, ...]) -> bool:
    return f"{key}.".startswith(tuple(f"{root}." for root in roots))


def _may_be_path(key: str, value: Any) -> bool:
    if isinstance(value, list):
        return any(_may_be_path(key, item) for item in value)
    if not isinstance(value, str):
        return False
    return key.endswith(("weights", "pack")) or bool(PATH.search(value))
