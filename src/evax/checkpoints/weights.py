"""Weights in and out of a backbone: files in any declared layout, our checkpoints and exports."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from evax.checkpoints.atomic import replacing
from evax.checkpoints.errors import WeightsError, quote
from evax.checkpoints.layouts import AS_NAMED, COMPUTED, OPTIONAL
from evax.checkpoints.published import PUBLISHED
from evax.checkpoints.resize import num_prefix_slots, resize_patch_kernel, resize_position_table
from evax.checkpoints.weight_files import Weights, read_weights
from evax.data.atomic import sha256_of
from evax.data.normalisation import Normalisation

__all__ = ["LoadReport", "WeightsError", "export_weights", "load_weights"]

Tensors = dict[str, Tensor]
HEAD = "head."
TABLE, KERNEL = "pos_embed", "patch_embed.proj.weight"
STAGES = re.compile(r"(?:layers|stages)\.\d+\.blocks\.")  # of hierarchical transformers
STEMS = ("conv1.weight", "features.conv0.weight")  # first kernels of ResNet and DenseNet


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor; names are the model's, those in `dropped` the file's.

    `head` says what else of the file is used than its backbone, in words.
    """

    file: Path
    container: str
    layout: str
    matched: tuple[str, ...]
    resized: tuple[str, ...]  # also in `matched`
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]
    share: float  # of the model's numbers that come from the file, 0..1
    normalisation: Normalisation | None = None  # of the images that the weights were trained on, where known
    head: str = ""

    @property
    def summary(self) -> str:
        """What became of the model's tensors."""
        parts = [f"{len(self.matched)} tensors loaded, {self.share:.1%} of the model's parameters"]
        groups = {what: getattr(self, what) for what in ("resized", "missing", "unexpected")}
        return "; ".join(parts + [f"{what} {len(names)} ({quote(names)})" for what, names in groups.items() if names])

    def with_head(self, head: str) -> "LoadReport":
        """The report of a file whose head is used as well, such as a "classification head (7 classes)"."""
        return replace(self, head=head, dropped=tuple(name for name in self.dropped if not name.startswith(HEAD)))

    def __str__(self) -> str:
        head = f" and {self.head}" if self.head else ""
        parts = [f"loaded backbone ({len(self.matched)} tensors, {self.share:.1%} of its parameters){head}"]
        parts += [f"resized {len(self.resized)} ({quote(self.resized)})"] if self.resized else []
        parts += [f"not in the file {len(self.missing)} ({quote(self.missing)})"] if self.missing else []
        parts += left_out(self.dropped)
        return f"{self.file.name} (container {self.container}, layout {self.layout}): {'; '.join(parts)}."


def left_out(names: Collection[str]) -> list[str]:
    """What of a file is not loaded, in words: names that are not used, and tables that are computed."""
    unused = [name for name in names if not COMPUTED.match(name)]
    parts = [f"not used {len(unused)} ({quote(unused)})"] if unused else []
    num_tables = len(names) - len(unused)
    return parts + ([f"{num_tables} position tables are computed, not loaded"] if num_tables else [])


def load_weights(model: nn.Module, path: str | Path, *, key: str | None = None) -> LoadReport:
    """Load a file, or the best checkpoint of a run directory, into a ViT, Eva or CNN (EvaX or any of timm's) in place.

    The layout is recognised by its names (`layouts.LAYOUTS`), half precision becomes float32, and weights of
    another patch grid or patch size are resampled. The file's final LayerNorm `norm` becomes `fc_norm` where the
    model averages tokens and has no `norm`. `key` names the container in place of the usual order.
    Raises WeightsError for whatever is not declared; only the mask token, a classifier, and what a layout declares
    as `absent` may be missing, and only the first two left over.
    """
    return fill(model, read_weights(path, key=key))


def fill(model: nn.Module, weights: Weights) -> LoadReport:
    """`load_weights` of what was read already."""
    tensors, report = fit_weights(model, weights)
    model.load_state_dict(tensors, strict=False)
    return report


def fit_weights(model: nn.Module, weights: Weights) -> tuple[Tensors, LoadReport]:
    """What `load_weights` would load, and its report; the model, which may be on the meta device, is not changed."""
    own = model.state_dict()
    tensors, replaced = _fit_names(_without_prefix(weights.tensors, own), own)
    tensors, resized = _resize(weights.file, tensors, model, own)
    report = _compare(weights._replace(dropped=weights.dropped + replaced), tensors, resized, own)
    _check(report, weights.absent, tensors, own)
    return {name: tensors[name] for name in report.matched}, report


def export_weights(model: nn.Module, path: str | Path, meta: Mapping[str, Any], head: Tensors | None = None) -> None:
    """Write a model's weights as safetensors, and beside it as `.json` `meta` (JSON values) and sha256.

    The tensors of a classifier's `head` go along under "head.", which backbones leave out when they load the file.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: exports are safetensors; name it {path.with_suffix('.safetensors').name}")
    try:
        json.dumps(dict(meta))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: meta must hold JSON values only ({error})") from error
    tensors = model.state_dict() | {f"head.{name}": tensor for name, tensor in (head or {}).items()}
    with replacing(path) as temporary:
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, temporary)
        temporary.chmod(0o644)  # safetensors lets only the owner read
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**meta, "sha256": sha256_of(path)}, indent=1))


def _without_prefix(tensors: Tensors, own: Tensors) -> Tensors:
    """Tensors of no known layout under the model's names, where those stand behind one prefix, and all are there."""
    wanted = {name for name in own if not OPTIONAL.match(name)}
    first = min(wanted, default="")
    prefixes = [name.removesuffix(first) for name in tensors if name.endswith(f".{first}")]
    whole = [prefix for prefix in prefixes if all(prefix + name in tensors for name in wanted)]
    if len(whole) != 1 or not wanted.isdisjoint(tensors):
        return tensors
    return {name.removeprefix(whole[0]): tensor for name, tensor in tensors.items() if name.startswith(whole[0])}


def _fit_names(tensors: Tensors, own: Tensors) -> tuple[Tensors, tuple[str, ...]]:
    """Tensors under the model's names, and those of the file that others stand for.

    A fine-tuned file has both final norms, and then `fc_norm` is the one behind the mean. A projection without
    bias (BiomedCLIP) is one with a zero bias.
    """
    moved = {n: f"fc_{n}" for n in tensors if n.startswith("norm.") and n not in own and f"fc_{n}" in own}
    replaced = tuple(n for n, ours in moved.items() if ours in tensors)
    named = {moved.get(n, n): t for n, t in tensors.items() if n not in replaced}
    has_projection = "head.weight" in own and "head.weight" in named
    if has_projection and own["head.weight"].shape == named["head.weight"].shape and "head.bias" in own:
        named.setdefault("head.bias", torch.zeros_like(own["head.bias"]))
    return named, replaced


def _resize(file: Path, tensors: Tensors, model: nn.Module, own: Tensors) -> tuple[Tensors, tuple[str, ...]]:
    """The tensors with position table and kernels as the model has them, and which were changed.

    The first kernel of a CNN of one channel becomes one of three that computes the same from three equal channels.
    """
    resized = [n for n in (TABLE, KERNEL) if n in tensors and n in own and tensors[n].shape != own[n].shape]
    grey = [n for n in STEMS if n in tensors and n in own and (tensors[n].shape[1], own[n].shape[1]) == (1, 3)]
    tensors = dict(tensors)
    if TABLE in resized and tensors[TABLE].shape[-1] == own[TABLE].shape[-1]:
        tensors[TABLE] = _fit_table(file, tensors[TABLE], model)
    if KERNEL in resized and tensors[KERNEL].shape[1] == own[KERNEL].shape[1]:
        height, width = own[KERNEL].shape[2:]
        tensors[KERNEL] = resize_patch_kernel(tensors[KERNEL], (height, width))
    tensors |= {name: tensors[name].repeat(1, 3, 1, 1) / 3 for name in grey}
    return tensors, (*resized, *grey)


def _fit_table(file: Path, table: Tensor, model: nn.Module) -> Tensor:
    """The position table on the model's grid; a table of the same grid without prefix slots gets zeros there."""
    num_prefix = num_prefix_slots(model)
    grid: Any = model.get_submodule("patch_embed").grid_size
    if table.shape[1] == grid[0] * grid[1]:
        return F.pad(table, (0, 0, num_prefix, 0))
    num_patches = table.shape[1] - num_prefix
    side = isqrt(max(num_patches, 0))
    if not side or side**2 != num_patches:
        raise WeightsError(
            f"{file}: {TABLE} has {num_patches} patches, no square grid, and cannot be resized; "
            "build the model at the file's image_size"
        )
    return resize_position_table(table, (side, side), grid, num_prefix)


def _compare(weights: Weights, tensors: Tensors, resized: tuple[str, ...], own: Tensors) -> LoadReport:
    def is_spare(name: str) -> bool:
        return bool(OPTIONAL.match(name)) and (name not in own or tensors[name].shape != own[name].shape)

    spare = tuple(filter(is_spare, tensors))
    matched = tuple(name for name in tensors if name in own and name not in spare)
    return LoadReport(
        file=weights.file,
        container=weights.container,
        layout=weights.layout,
        matched=matched,
        resized=resized,
        missing=tuple(name for name in own if name not in matched),
        unexpected=tuple(name for name in tensors if name not in own and name not in spare),
        dropped=weights.dropped + spare,
        share=sum(own[name].numel() for name in matched) / sum(t.numel() for t in own.values()),
        normalisation=weights.normalisation,
    )


def _check(report: LoadReport, absent: str, tensors: Tensors, own: Tensors) -> None:
    if not report.matched:
        raise WeightsError(_unknown(report, tensors, own))
    missing = [name for name in report.missing if not (OPTIONAL.match(name) or re.match(absent, name))]
    if missing or report.unexpected:
        found = [f"{what} {len(n)} ({quote(n)})" for what, n in (("lacks", missing), ("adds", report.unexpected)) if n]
        raise WeightsError(
            f"{report.file}: does not fit the model (layout {report.layout}): {' and '.join(found)}; "
            f"{_remedy(report, tensors, own, is_whole=not missing)}"
        )
    for name in report.matched:
        if tensors[name].shape != own[name].shape:
            raise WeightsError(
                f"{report.file}: {name} is {tuple(tensors[name].shape)} in the file and "
                f"{tuple(own[name].shape)} in the model; {_remedy(report, tensors, own, is_whole=True)}"
            )
        _check_values(report.file, name, tensors[name], own[name])


def _check_values(file: Path, name: str, tensor: Tensor, own: Tensor) -> None:
    """Raise WeightsError for numbers that cannot be weights."""
    if own.is_floating_point() and not tensor.is_floating_point():
        raise WeightsError(f"{file}: {name} is {tensor.dtype}, of quantised weights; take the file of whole ones")
    if tensor.is_floating_point() and not tensor.is_meta and not tensor.isfinite().all():
        raise WeightsError(f"{file}: {name} holds NaN or infinity; take a checkpoint from before its training diverged")


def _unknown(report: LoadReport, tensors: Tensors, own: Tensors) -> str:
    held = f"container {report.container} holds {quote(list(tensors))}"
    if report.layout == AS_NAMED.name:
        return (
            f"{report.file}: unknown layout, no name fits the model; {held}; docs/weights.md lists what is read: "
            "give such a file, or rename its tensors as timm does"
        )
    remedy = _remedy(report, tensors, own, is_whole=True)
    return f"{report.file}: no name fits the model (layout {report.layout}); {held}; {remedy}"


def _remedy(report: LoadReport, tensors: Tensors, own: Tensors, *, is_whole: bool) -> str:
    """What helps where a file does not fit: its own backbone, where that is another, by name if it is known."""
    ours, theirs = _in_words(own), _in_words(tensors)
    if KERNEL in own and ours == theirs:
        return "take what is no part of the backbone out of the file" if is_whole else "give the whole file"
    if KERNEL not in own and report.matched:
        return "choose the backbone of the file, or give a whole file"
    width = tensors[KERNEL].shape[0] if KERNEL in tensors else None
    is_told = width is not None or any(name in tensors for name in STEMS)
    entries = [known for known in PUBLISHED if known.layout == report.layout and width in (None, known.width)]
    entries = entries if is_told else []  # without its stem a file may be of any kind
    names = list(dict.fromkeys(_as_typed(known.backbone) for known in entries))
    sizes = f" ({theirs}; the model is {ours})" if ours != theirs else ""
    return f"choose the backbone of the file{sizes}{': ' if names else ''}{' or '.join(names)}"


def _in_words(tensors: Tensors) -> str:
    """The kind of a backbone, as its names tell it."""
    if KERNEL not in tensors:
        return "not a ViT"
    if any(STAGES.match(name) for name in tensors):
        return f"of stages as Swin is, {tensors[KERNEL].shape[0]} wide at first"
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    is_eva = any(name.endswith((".q_bias", ".q_proj.weight")) for name in tensors)
    is_split = any(".mlp.fc1_g." in name for name in tensors)
    kind = "an EVA of split layers" if is_split else "an EVA" if is_eva else "a plain ViT"
    return f"{kind}, {tensors[KERNEL].shape[0]} wide, {depth} blocks"


def _as_typed(backbone: str) -> str:
    """A backbone on the command line."""
    return f"backbone={backbone}" if backbone.startswith("eva_x") else f"backbone=timm backbone.name={backbone}"
