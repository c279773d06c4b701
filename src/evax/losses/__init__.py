"""Losses of masked image modelling, on masked tokens in float32."""

from evax.losses.cosine import cosine_loss, token_cosine
from evax.losses.regression import squared_loss

__all__ = ["cosine_loss", "squared_loss", "token_cosine"]
