"""Small ViTs of timm with weights in which every part matters, and their files."""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from evax.tokenizers import VitTokenizer

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
PLAIN, CLIP = "vit_base_patch16_224", "eva02_base_patch16_clip_224"
NO_NORMALISATION = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "precision": "fp32"}


def teacher(name: str = PLAIN, seed: int = 0, **settings: Any) -> nn.Module:
    """A timm model in evaluation mode; norms near one, everything else random."""
    model = timm.create_model(name, **(SMALL | {"num_classes": 0} | settings)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for key, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_scale = parameter.ndim == 1 and key.endswith("weight")
        parameter.copy_(1 + 0.2 * noise if is_scale else noise * (0.2 if parameter.ndim == 1 else 0.1))
    return model


def saved(model: nn.Module, folder: Path) -> Path:
    """Its weights under timm's names."""
    torch.save(model.state_dict(), folder / "teacher.pt")
    return folder / "teacher.pt"


def tokenizer_of(model: nn.Module, folder: Path, name: str = PLAIN, **settings: Any) -> VitTokenizer:
    """A tokenizer of the model's file at its size, in float32 and without normalisation unless asked for."""
    side = model.patch_embed.img_size[0]
    kwargs = SMALL | settings.pop("model_kwargs", {})
    chosen = NO_NORMALISATION | {"image_size": side, "model_kwargs": kwargs} | settings
    return VitTokenizer(name, weights=saved(model, folder), **chosen)
