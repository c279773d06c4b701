"""Backbones that are not EVA-X: any plain ViT, EVA, ResNet or DenseNet of timm, as timm builds it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import timm
import torch
from timm.models import is_model_in_modules
from timm.models.densenet import DenseNet
from timm.models.eva import Eva
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer

from evax.backbones.drop_path import replace_drop_path
from evax.backbones.preprocessing import normalisation_of, normalise_as
from evax.data.normalisation import Normalisation
from evax.hints import nearest

log = logging.getLogger(__name__)

Foreign: TypeAlias = Eva | VisionTransformer | ResNet | DenseNet
VITS = ("vision_transformer", "eva", "deit")  # modules of timm
CNNS = ("resnet", "densenet")


def create_foreign(
    name: str,
    *,
    weights: str | Path | None = None,
    weights_key: str | None = None,
    published: str | None = None,
    image_size: int | tuple[int, int] = 224,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    drop_path: float = 0.0,
    gradient_checkpointing: bool = False,
    model_kwargs: Mapping[str, Any] | None = None,
) -> Foreign:
    """timm's model without classifier at `image_size` pixels; nothing is ever downloaded.

    `published` names the weights that are meant (`python -m evax.checkpoints fetch`): `weights` may then be the folder
    of their file, and an error says where to get it. Images are normalised by `mean` and `std` (three channels), else
    as the layout of the weights tells, else as timm does, and then a warning says so. `pretrained_cfg` holds the
    choice. `model_kwargs` go to `timm.create_model`. The weights of CNNs lie channels last, which convolutions compute
    faster. Raises ValueError for what a model does not have.
    """
    check_foreign(name)
    check_options(name, drop_path, gradient_checkpointing)
    settings = _settings(name, image_size, drop_path) | dict(model_kwargs or {})
    model = cast("Foreign", timm.create_model(name, **settings))
    replace_drop_path(model)
    model.set_grad_checkpointing(gradient_checkpointing)
    if is_cnn(name):
        model = model.to(memory_format=torch.channels_last)
    known = _chosen(mean, std)
    if weights is not None:
        from evax.checkpoints.published import published_file
        from evax.checkpoints.weights import load_weights

        report = load_weights(model, published_file(weights, published), key=weights_key)
        log.info("%s", report)
        known = known or report.normalisation
        if known is None:
            _warn(model, report.file)
    if known is not None:
        normalise_as(model, known)
    return model


def check_foreign(name: str, others: Iterable[str] = ()) -> None:
    """Raise ValueError for what timm does not know as a plain ViT, EVA or CNN, naming `others` and what is near."""
    if is_model_in_modules(name, (*VITS, *CNNS)):
        return
    hint = nearest(name, [*others, *timm.list_models(module=(*VITS, *CNNS))])
    none_of = f"none of {', '.join(others)}, and " if others else ""
    raise ValueError(f"backbone.name={name} is {none_of}no ViT, EVA, ResNet or DenseNet of timm; {hint}")


def is_cnn(name: str) -> bool:
    """Whether timm's model of this name is a CNN."""
    return is_model_in_modules(name, CNNS)


def check_options(name: str, drop_path: float, gradient_checkpointing: bool) -> None:
    """Refuse what a CNN does not have, or could not keep exact."""
    if is_model_in_modules(name, ("densenet",)) and drop_path:
        raise ValueError(f"backbone.drop_path={drop_path}: {name} has no paths to drop; set it to 0.0")
    if is_cnn(name) and gradient_checkpointing:
        raise ValueError(f"backbone.gradient_checkpointing: {name} would count every batch twice in its statistics")


def _settings(name: str, image_size: int | tuple[int, int], drop_path: float) -> dict[str, Any]:
    """Arguments of timm; only a ViT is built for a size, and only what drops paths knows the rate."""
    sizes = {} if is_cnn(name) else {"img_size": image_size}
    rates = {"drop_path_rate": drop_path} if drop_path else {}
    return {"pretrained": False, "num_classes": 0} | sizes | rates


def _chosen(mean: Sequence[float] | None, std: Sequence[float] | None) -> Normalisation | None:
    match mean, std:
        case None, None:
            return None
        case [r, g, b], [r_std, g_std, b_std]:
            return Normalisation((r, g, b), (r_std, g_std, b_std))
    raise ValueError(f"backbone.mean={mean} and backbone.std={std}: give both, three numbers each, or neither")


def _warn(model: Foreign, file: Path) -> None:
    mean, std = normalisation_of(model)
    log.warning(
        "%s does not tell how its images were normalised; timm's mean %s and std %s are used, see docs/weights.md "
        "and set model.pretrained_cfg",
        file.name,
        mean,
        std,
    )
