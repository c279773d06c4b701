"""Which parameters decay: the model says, the optimizer asks."""

from collections.abc import Iterator
from typing import Any

from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Optimizer groups "decay" and "no_decay" of the trainable parameters, with their names; none is empty.

    Vectors (norms), biases and what a module lists in its `no_weight_decay()` do not decay. The mask token
    does, as in EVA-02, unless the model lists it.
    """
    exempt = set(exempt_names(model))
    names: dict[str, list[str]] = {"decay": [], "no_decay": []}
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        decays = parameter.ndim > 1 and not name.endswith(".bias") and name not in exempt
        names["decay" if decays else "no_decay"].append(name)
    decay_of = {"decay": weight_decay, "no_decay": 0.0}
    return [
        {
            "name": group,
            "params": [parameters[name] for name in members],
            "param_names": members,
            "weight_decay": decay_of[group],
        }
        for group, members in names.items()
        if members
    ]


def exempt_names(model: nn.Module) -> Iterator[str]:
    """Full names listed by `no_weight_decay()` of the model and of its submodules."""
    for prefix, module in model.named_modules():
        if (no_weight_decay := getattr(module, "no_weight_decay", None)) is not None:
            yield from (f"{prefix}.{name}" if prefix else name for name in no_weight_decay())
