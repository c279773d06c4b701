"""Losses of segmentation: logits of pixels against masks, in float32 or better.

Masks hold 0 for background and k + 1 for the k-th class. One class has one channel of logits; several classes have
one more channel than there are classes, the first of which is the background's. Cross-entropies are means over pixels,
so that the loss of a batch is the mean of those of its parts; overlaps are of all films that are on a device at once.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F


def bce_loss(logits: Float[Tensor, "B 1 H W"], mask: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of one class, the mean over pixels (published code of EVA-X)."""
    logits = checked(logits, mask)
    with torch.autocast(logits.device.type, enabled=False):
        return F.binary_cross_entropy_with_logits(logits, mask.to(logits.dtype))


def ce_loss(logits: Float[Tensor, "B C H W"], mask: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """Cross-entropy of several classes and the background, the mean over pixels."""
    logits = checked(logits, mask)
    with torch.autocast(logits.device.type, enabled=False):
        return F.cross_entropy(logits, mask[:, 0].long())


def dice_loss(logits: Float[Tensor, "B C H W"], mask: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """1 - soft Dice, 2 sum(p y) / (sum(p) + sum(y)), the mean over classes; one that no film shows weighs nothing."""
    from segmentation_models_pytorch.losses import DiceLoss

    return _overlap(DiceLoss, logits, mask)


def jaccard_loss(logits: Float[Tensor, "B C H W"], mask: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """1 - soft Jaccard, sum(p y) / (sum(p) + sum(y) - sum(p y)), the mean over classes, as `dice_loss`."""
    from segmentation_models_pytorch.losses import JaccardLoss

    return _overlap(JaccardLoss, logits, mask)


def _overlap(kind: Callable[..., Callable[[Tensor, Tensor], Tensor]], logits: Tensor, mask: Tensor) -> Tensor:
    logits = checked(logits, mask)
    with torch.autocast(logits.device.type, enabled=False):
        if logits.shape[1] == 1:
            return kind("binary")(logits, mask)
        return kind("multiclass", classes=list(range(1, logits.shape[1])))(logits, mask[:, 0].long())


def checked(logits: Float[Tensor, "B C H W"], mask: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
    """The logits in float32 or better; ValueError for a mask that holds more than their classes, such as 255."""
    num_classes = max(1, logits.shape[1] - 1)
    if (highest := int(mask.max())) > num_classes:
        raise ValueError(
            f"a mask holds {highest}, and there are {num_classes} classes; let data.masks say what its values mean"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
