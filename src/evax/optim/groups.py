"""Which parameters decay and how fast each layer learns: the model says, the optimizer asks."""

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

STEM = ("cls_token", "pos_embed", "mask_token", "reg_token", "dist_token", "patch_embed", "rope", "norm_pre")


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Optimizer groups of the trainable parameters, with their names; none is empty.

    Groups are "decay" and "no_decay": vectors (norms), biases and what a module lists in its `no_weight_decay()`
    do not decay. The mask token does, as in EVA-02, unless the model lists it. With `layer_decay` below 1 there
    is a pair of them per layer of `model.backbone`, as "layer 3, decay", whose rate is scaled by `lr_scale`,
    layer_decay to the power of the layers above (BEiT, Bao et al. 2021, appendix).
    """
    exempt = set(exempt_names(model))
    depth = num_layers(model) if layer_decay != 1 else 0
    groups: dict[tuple[int, str], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_decayed = parameter.ndim > 1 and not name.endswith(".bias") and name not in exempt
        kind = "decay" if is_decayed else "no_decay"
        layer = layer_id(name, depth) if depth else 0
        group = groups.setdefault(
            (layer, kind),
            {
                "name": f"layer {layer}, {kind}" if depth else kind,
                "params": [],
                "param_names": [],
                "weight_decay": weight_decay if is_decayed else 0.0,
                "lr_scale": layer_decay ** (depth + 1 - layer) if depth else 1.0,
            },
        )
        group["params"].append(parameter)
        group["param_names"].append(name)
    return [groups[key] for key in sorted(groups)]


def num_layers(model: nn.Module) -> int:
    """Blocks of the model's backbone; ValueError for one without, such as a CNN."""
    blocks = getattr(getattr(model, "backbone", None), "blocks", None)
    if blocks is None:
        raise ValueError("optim.layer_decay needs a backbone of blocks, a ViT; set it to 1.0")
    return len(blocks)


def layer_id(name: str, depth: int) -> int:
    """Layer of a parameter: 0 for embeddings, i + 1 for `blocks.i`, depth + 1 for what reads the last block."""
    inside = name.removeprefix("backbone.")
    if block := re.match(r"blocks\.(\d+)\.", inside):
        return int(block[1]) + 1
    return 0 if inside != name and inside.startswith(STEM) else depth + 1


def exempt_names(model: nn.Module) -> Iterator[str]:
    """Full names listed by `no_weight_decay()` of the model and of its submodules."""
    for prefix, module in model.named_modules():
        if (no_weight_decay := getattr(module, "no_weight_decay", None)) is not None:
            yield from (f"{prefix}.{name}" if prefix else name for name in no_weight_decay())
