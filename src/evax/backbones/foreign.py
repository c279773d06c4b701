"""Backbones that are not EVA-X: any plain ViT or EVA of timm, as timm builds it."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, cast

import timm
from timm.models import is_model_in_modules
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer

from evax.backbones.drop_path import replace_drop_path
from evax.backbones.preprocessing import normalisation_of, normalise_as
from evax.data.normalisation import Normalisation
from evax.hints import nearest

log = logging.getLogger(__name__)

Foreign: TypeAlias = Eva | VisionTransformer
MODULES = ("vision_transformer", "eva", "deit")  # of timm, whose models are of these two classes


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
        _adopt(model, report.normalisation, report.file)
    return model


def check_foreign(name: str, others: Iterable[str]) -> None:
    """Raise ValueError for what timm does not know as a plain ViT or EVA, naming `others` and what is near."""
    if is_model_in_modules(name, MODULES):
        return
    hint = nearest(name, [*others, *timm.list_models(module=MODULES)])
    raise ValueError(f"backbone.name={name} is none of {', '.join(others)}, and no ViT or EVA of timm; {hint}")


def _adopt(model: Foreign, normalisation: Normalisation | None, file: Path) -> None:
    if normalisation is not None:
        normalise_as(model, normalisation)
        return
    mean, std = normalisation_of(model)
    log.warning(
        "%s does not tell how its images were normalised; timm's mean %s and std %s are used, see docs/weights.md "
        "and set model.pretrained_cfg",
        file.name,
        mean,
        std,
    )
