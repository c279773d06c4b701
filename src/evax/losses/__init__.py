"""Losses: of masked image modelling on masked tokens, of classification on known labels; all in float32."""

from evax.losses.classification import binary_loss, exclusive_loss
from evax.losses.cosine import cosine_loss, token_cosine
from evax.losses.regression import squared_loss

__all__ = ["binary_loss", "cosine_loss", "exclusive_loss", "squared_loss", "token_cosine"]
