"""Losses of labelled films, where a label may be unknown."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def binary_loss(
    logits: Float[Tensor, "B C"], targets: Float[Tensor, "B C"], is_known: Bool[Tensor, "B C"]
) -> Float[Tensor, ""]:
    """Binary cross-entropy of every finding by itself, in float32 or better.

    The sum over known pairs of film and finding, divided by all pairs: an unknown label weighs nothing, and the
    loss of a batch is the mean of those of its parts however many devices share it. With every label known it
    is the plain mean over batch and classes of the published fine-tuning.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    with torch.autocast(logits.device.type, enabled=False):
        losses = F.binary_cross_entropy_with_logits(logits.to(dtype), targets.to(dtype), reduction="none")
        return (losses * is_known).mean()


def exclusive_loss(
    logits: Float[Tensor, "B C"], targets: Float[Tensor, "B C"], is_known: Bool[Tensor, "B C"]
) -> Float[Tensor, ""]:
    """Cross-entropy where a film has exactly one of the classes, in float32 or better; `targets` are one-hot rows.

    The sum over films whose class is known, divided by all films.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    with torch.autocast(logits.device.type, enabled=False):
        losses = F.cross_entropy(logits.to(dtype), targets.to(dtype), reduction="none")
        return (losses * is_known.all(dim=1)).mean()
