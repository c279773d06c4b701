"""Weights in and out of a backbone: files in any declared layout, our checkpoints and exports."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from evax.checkpoints.atomic import replacing
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.layouts import OPTIONAL
from evax.checkpoints.resize import num_prefix_slots, resize_patch_kernel, resize_position_table
from evax.checkpoints.weight_files import Weights, quote, read_weights
from evax.data.atomic import sha256_of
from evax.data.normalisation import Normalisation

__all__ = ["LoadReport", "WeightsError", "export_weights", "load_weights"]

Tensors = dict[str, Tensor]
TABLE, KERNEL = "pos_embed", "patch_embed.proj.weight"
STEMS = ("conv1.weight", "features.conv0.weight")  # first kernels of ResNet and DenseNet


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor; names are the model's, those in `dropped` the file's."""

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

    @property
    def summary(self) -> str:
        """What became of the model's tensors."""
        parts = [f"{len(self.matched)} tensors loaded, {self.share:.1%} of the model's parameters"]
        groups = {what: getattr(self, what) for what in ("resized", "missing", "unexpected")}
        return "; ".join(parts + [f"{what} {len(names)} ({quote(names)})" for what, names in groups.items() if names])

    def __str__(self) -> str:
        dropped = f"; dropped {len(self.dropped)} ({quote(self.dropped)})" if self.dropped else ""
        return f"{self.file.name} (container {self.container}, layout {self.layout}): {self.summary}{dropped}."


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
    tensors, replaced = _fit_names(weights.tensors, own)
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
    if TABLE in resized:
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
        raise WeightsError(
            f"{report.file}: unknown layout, no name fits the model; container {report.container} holds "
            f"{quote(list(tensors))}; choose the backbone of the file, or another container by weights_key="
        )
    missing = [name for name in report.missing if not (OPTIONAL.match(name) or re.match(absent, name))]
    if missing or report.unexpected:
        found = [f"{what} {len(n)} ({quote(n)})" for what, n in (("lacks", missing), ("adds", report.unexpected)) if n]
        raise WeightsError(
            f"{report.file}: does not fit the model (layout {report.layout}): {' and '.join(found)}; "
            "choose the backbone of the file"
        )
    for name in report.matched:
        if tensors[name].shape != own[name].shape:
            raise WeightsError(
                f"{report.file}: {name} is {tuple(tensors[name].shape)} in the file and "
                f"{tuple(own[name].shape)} in the model; choose the backbone (its size) of the file"
            )
