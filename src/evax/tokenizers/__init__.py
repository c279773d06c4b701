"""Frozen target networks: images to the tokens that the student predicts."""

from evax.tokenizers.base import Tokenizer
from evax.tokenizers.hog import HogTokenizer
from evax.tokenizers.pixels import PixelTokenizer

__all__ = ["HogTokenizer", "PixelTokenizer", "Tokenizer"]
