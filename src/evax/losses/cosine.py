"""Cosine distance to the target tokens: the loss of EVA-02 and EVA-X."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def token_cosine(prediction: Float[Tensor, "M T"], target: Float[Tensor, "M T"]) -> Float[Tensor, " M"]:
    """Cosine similarity of every token with its target, in [-1, 1], in float32 or better."""
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    with torch.autocast(prediction.device.type, enabled=False):
        return F.cosine_similarity(prediction.to(dtype), target.to(dtype), dim=-1)


def cosine_loss(prediction: Float[Tensor, "M T"], target: Float[Tensor, "M T"]) -> Float[Tensor, ""]:
    """Mean of 1 - cosine similarity over the batch's masked tokens, in [0, 2]."""
    if len(prediction) == 0:
        raise ValueError("cosine_loss: the batch has no masked token; raise masking.ratio")
    return (1 - token_cosine(prediction, target)).mean()
