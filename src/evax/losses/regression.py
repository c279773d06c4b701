"""Squared error to the target tokens: the loss of MaskFeat and MAE."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def squared_loss(prediction: Float[Tensor, "M T"], target: Float[Tensor, "M T"]) -> Float[Tensor, ""]:
    """Mean squared difference over the batch's masked tokens and their components, in float32 or better."""
    if len(prediction) == 0:
        raise ValueError("squared_loss: the batch has no masked token; raise masking.ratio")
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    with torch.autocast(prediction.device.type, enabled=False):
        return F.mse_loss(prediction.to(dtype), target.to(dtype))
