"""`python -m evax.checkpoints inspect|export`: which backbone a file fits, and its weights for others."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evax.backbones import EvaX, create_backbone, create_foreign
from evax.backbones.eva_x import SIZES
from evax.backbones.grid import check_grid
from evax.backbones.preprocessing import normalisation_of
from evax.checkpoints.classifiers import Described, describe_classifier, is_classifier
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.export import export_meta, run_config
from evax.checkpoints.inspection import describe, describe_known, find_fits, image_size_of
from evax.checkpoints.segmenters import DescribedSegmenter, describe_segmenter, is_segmenter
from evax.checkpoints.thresholds import THRESHOLDS, recorded_thresholds
from evax.checkpoints.weight_files import Content, Weights, read_content, under_timm_names
from evax.checkpoints.weights import export_weights, fill, fit_weights
from evax.runs.progress import progress_of

log = logging.getLogger(__name__)


def inspect_file(source: Path, backbone: str | None, key: str | None) -> None:
    """Log what a file is and what would load; raises WeightsError where it does not fit `backbone`."""
    content = read_content(source, key=key)
    weights = under_timm_names(content)
    facts = describe(content, weights)
    if backbone is not None:
        size = image_size_of(weights.tensors) or 224
        fits = {backbone: fit_weights(on_meta(backbone, size), weights)[1]}
    else:
        found = find_fits(weights, on_meta)
        fits = {fit.entry.backbone: fit.report for fit in found}
        facts |= describe_known(weights, found)
    if is_classifier(content, weights):
        facts["classes"] = ", ".join(describe_classifier(content, weights).classes)
    if is_segmenter(content):
        facts["classes"] = ", ".join(describe_segmenter(content, weights).classes) + " (of pixels)"
    facts |= {f"fits {number}": f"{name}: {fits[name].summary}" for number, name in enumerate(fits, 1)}
    if not fits:
        facts["fits"] = "none of the published backbones; try one by --backbone NAME"
    log.info("\n".join(f"{label:<10} {text}" for label, text in facts.items()))


def export_file(source: Path, out: Path, backbone: str | None, key: str | None) -> None:
    """Write a run's or file's backbone, with the head of a classifier or segmenter, and what is known about it."""
    if out.suffix != ".safetensors":
        raise WeightsError(f"{out}: exports are safetensors; name it {out.with_suffix('.safetensors').name}")
    content = read_content(source, key=key)
    weights, config = under_timm_names(content), run_config(content.file)
    name = backbone or backbone_name(content, weights)
    image_size = image_size_of(weights.tensors) or config.get("image_size", 224)
    mask_token = name in SIZES and "mask_token" in weights.tensors
    model_kwargs = recorded_architecture(content).get("model_kwargs") or {}
    model = create(name, image_size, mask_token=mask_token, model_kwargs=model_kwargs)
    report = fill(model, weights)
    known = report.normalisation or (normalisation_of(model) if isinstance(model, EvaX) else None)
    architecture = {"name": name, "image_size": image_size, "mask_token": mask_token}
    architecture |= {"model_kwargs": model_kwargs} if model_kwargs else {}
    task = described_task(content, weights)
    meta = export_meta(content, architecture, known, config, task)
    meta["progress"] = progress_of(source)
    if isinstance(task, DescribedSegmenter):
        meta[THRESHOLDS] = dict(recorded_thresholds(content)) or None
    export_weights(model, out, meta, task.head if task is not None else None)
    report = report if task is None else report.with_head(str(task))
    what = f" with {len(task.classes)} classes" if task is not None else ""
    log.info("%s\nwrote %s%s and %s", report, out, what, out.with_suffix(".json").name)


def described_task(content: Content, weights: Weights) -> Described | DescribedSegmenter | None:
    """What a file was trained for besides its backbone; None of pre-training."""
    if is_segmenter(content):
        return describe_segmenter(content, weights)
    return describe_classifier(content, weights) if is_classifier(content, weights) else None


def backbone_name(content: Content, weights: Weights) -> str:
    """The backbone that an export's `.json` or a run's configuration names; else the one that fits best."""
    return _name(recorded_architecture(content)) or fitting_backbone(weights)


def recorded_architecture(content: Content) -> dict[str, Any]:
    """What an export's `.json` or a run's configuration says of the backbone; empty where neither does."""
    recorded = (content.beside.get("architecture"), run_config(content.file).get("backbone"))
    return next((node for node in recorded if isinstance(node, dict) and _name(node)), {})


def fitting_backbone(weights: Weights) -> str:
    """The published backbone that takes a file with the least resampling."""
    fits = find_fits(weights, on_meta)
    if not fits:
        raise WeightsError(
            f"{weights.file}: fits none of the published backbones; name its own: --backbone NAME, backbone.name=NAME"
        )
    return fits[0].entry.backbone


def on_meta(name: str, image_size: int) -> nn.Module:
    """A backbone without numbers, to compare with."""
    with torch.device("meta"):
        return create(name, image_size)


def create(
    name: str, image_size: int, *, mask_token: bool = False, model_kwargs: Mapping[str, Any] | None = None
) -> nn.Module:
    """`evax.create_backbone` of a name that the user may have chosen; `model_kwargs` are of timm's models."""
    try:
        if model_kwargs:
            return create_foreign(name, image_size=image_size, model_kwargs=model_kwargs)
        return create_backbone(name, image_size=image_size, mask_token=mask_token)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def check_covered(backbone: nn.Module, image_size: int | None) -> None:
    """Refuse a size of the user's that the patches of a ViT do not cover."""
    try:
        if image_size is not None:
            check_grid(backbone, image_size)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def _name(node: Any) -> str | None:
    name = node.get("name") if isinstance(node, dict) else None
    return name if isinstance(name, str) else None
