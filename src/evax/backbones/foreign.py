"""Backbones that are not EVA-X: any plain ViT or EVA of timm, as timm builds it."""

import difflib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, cast

import timm
from timm.models import is_model_in_modules
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from evax.backbones.drop_path import replace_drop_path
from evax.data.normalisation import Normalisation

log = logging.getLogger(__name__)

Foreign: TypeAlias = Eva | VisionTransformer
MODULES = ("vision_transformer", "eva", "deit")  # of timm, whose models are of these two classes
NUM_CLOSE = 3


def create_foreign(
    name: str,
    *,
    weights: str | Path | None = None,
    weights_key: str | None = None,
    image_size: int | tuple[int, int] = 224,
    drop_path: float = 0.0,
    gradient_checkpointing: bool = False,
) -> Foreign:
    """timm's model without classifier at `image_size` pixels; nothing is ever downloaded.

    `pretrained_cfg["mean"]` and `["std"]` become those of the weights where their layout tells; where it does not,
    timm's stay, and a warning says so. `name` is one that `check_foreign` lets pass.
    """
    settings: dict[str, Any] = {"num_classes": 0, "img_size": image_size, "drop_path_rate": drop_path}
    model = cast("Foreign", timm.create_model(name, pretrained=False, **settings))
    replace_drop_path(model)
    model.set_grad_checkpointing(gradient_checkpointing)
    if weights is not None:
        from evax.checkpoints.weights import load_weights

        report = load_weights(model, weights, key=weights_key)
        log.info("%s", report)
        _normalise_as(model, report.normalisation, report.file)
    return model


def check_foreign(name: str, others: Iterable[str]) -> None:
    """Raise ValueError for what timm does not know as a plain ViT or EVA, naming `others` and what is near."""
    if is_model_in_modules(name, MODULES):
        return
    known = timm.list_models(module=MODULES)
    close = difflib.get_close_matches(name, known, n=NUM_CLOSE, cutoff=0.0)
    raise ValueError(
        f"backbone.name={name} is not known; choose one of {', '.join(others)}, "
        f"or a ViT or EVA of timm, such as {', '.join(close)}"
    )


def _normalise_as(model: Foreign, normalisation: Normalisation | None, file: Path) -> None:
    config = cast("dict[str, Any]", model.pretrained_cfg)
    if normalisation is not None:
        config.update(mean=normalisation.mean, std=normalisation.std)
        return
    log.warning(
        "%s does not tell how its images were normalised; timm's mean %s and std %s are used, see docs/weights.md "
        "and set model.pretrained_cfg",
        file.name,
        config["mean"],
        config["std"],
    )
