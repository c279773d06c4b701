"""Changes to gradients on their way to the optimizer."""

from torch import nn


def scale_gradient(module: nn.Module, factor: float) -> None:
    """Multiply the gradients of a module's parameters by `factor`, for good; at 0 they are left as they are.

    On the patch embedding with 0.1 this equals EVA-02's `stop_grad_conv1`, which mixes 0.9 of the detached output
    with 0.1 of the live one; with 0 its output is detached, and weight decay does not touch it either.
    """
    if factor == 0:
        module.requires_grad_(False)
    elif factor != 1:
        for parameter in module.parameters():
            parameter.register_hook(lambda gradient: gradient * factor)
