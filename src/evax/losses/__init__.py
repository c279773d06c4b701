"""Losses: of masked image modelling on masked tokens, of classification on known labels, of pixels; in float32."""

from evax.losses.classification import binary_loss, exclusive_loss
from evax.losses.cosine import cosine_loss, token_cosine
from evax.losses.regression import squared_loss
from evax.losses.segmentation import bce_loss, ce_loss, dice_loss, jaccard_loss

__all__ = [
    "bce_loss",
    "binary_loss",
    "ce_loss",
    "cosine_loss",
    "dice_loss",
    "exclusive_loss",
    "jaccard_loss",
    "squared_loss",
    "token_cosine",
]
