"""Weights in and out of a backbone: official EVA-X files, our checkpoints and exports, timm's names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from evax.checkpoints.atomic import replacing
from evax.checkpoints.layouts import OPTIONAL
from evax.checkpoints.resize import resize_patch_kernel, resize_position_table
from evax.checkpoints.weight_files import Weights, WeightsError, quote, read_weights
from evax.data.atomic import sha256_of

__all__ = ["LoadReport", "WeightsError", "export_weights", "load_weights"]

Tensors = dict[str, Tensor]
TABLE, KERNEL = "pos_embed", "patch_embed.proj.weight"


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor; names are evax's, those in `dropped` the file's."""

    file: Path
    container: str
    layout: str
    matched: tuple[str, ...]
    resized: tuple[str, ...]  # also in `matched`
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    dropped: tuple[str, ...]
    share: float  # of the model's numbers that come from the file, 0..1

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} tensors loaded, {self.share:.1%} of the model's parameters"]
        groups = {what: getattr(self, what) for what in ("resized", "missing", "unexpected", "dropped")}
        parts += [f"{what} {len(names)} ({quote(names)})" for what, names in groups.items() if names]
        return f"{self.file.name} (container {self.container}, layout {self.layout}): {'; '.join(parts)}."


def load_weights(model: nn.Module, path: str | Path, *, key: str | None = None) -> LoadReport:
    """Load a file, or the best checkpoint of a run directory, into a backbone in place.

    The layout is recognised by its names (`layouts.LAYOUTS`), half precision becomes float32, and weights of
    another patch grid or patch size are resampled. `key` names the container in place of the usual order.
    Raises WeightsError for whatever is not declared; only the mask token and a classifier may be missing or
    left over.
    """
    weights = read_weights(path, key=key)
    own = model.state_dict()
    tensors, resized = _resize(weights, model, own)
    report = _compare(weights, tensors, resized, own)
    _check(report, tensors, own)
    model.load_state_dict({name: tensors[name] for name in report.matched}, strict=False)
    return report


def export_weights(model: nn.Module, path: str | Path, meta: Mapping[str, Any]) -> None:
    """Write a model's weights as safetensors, and beside it as `.json` `meta` (JSON values) and sha256."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: exports are safetensors; name it {path.with_suffix('.safetensors').name}")
    try:
        json.dumps(dict(meta))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: meta must hold JSON values only ({error})") from error
    with replacing(path) as temporary:
        save_file({n: t.detach().cpu().contiguous() for n, t in model.state_dict().items()}, temporary)
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**meta, "sha256": sha256_of(path)}, indent=1))


def _resize(weights: Weights, model: nn.Module, own: Tensors) -> tuple[Tensors, tuple[str, ...]]:
    """The tensors with position table and patch kernel on the model's grid, and which were resampled."""
    tensors = dict(weights.tensors)
    resized = [n for n in (TABLE, KERNEL) if n in tensors and n in own and tensors[n].shape != own[n].shape]
    if TABLE in resized:
        num_patches = tensors[TABLE].shape[1] - 1  # the first slot is CLS
        side = isqrt(num_patches)
        if side**2 != num_patches:
            raise WeightsError(
                f"{weights.file}: {TABLE} has {num_patches} patches, no square grid, and cannot be resized; "
                "build the model at the file's image_size"
            )
        grid: Any = model.get_submodule("patch_embed").grid_size
        tensors[TABLE] = resize_position_table(tensors[TABLE], (side, side), grid)
    if KERNEL in resized:
        height, width = own[KERNEL].shape[2:]
        tensors[KERNEL] = resize_patch_kernel(tensors[KERNEL], (height, width))
    return tensors, tuple(resized)


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
    )


def _check(report: LoadReport, tensors: Tensors, own: Tensors) -> None:
    if not report.matched:
        raise WeightsError(
            f"{report.file}: unknown layout, no name fits the model; container {report.container} holds "
            f"{quote(list(tensors))}; choose the backbone of the file, or another container by weights_key="
        )
    missing = [name for name in report.missing if not OPTIONAL.match(name)]
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
