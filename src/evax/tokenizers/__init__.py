"""Frozen target networks: images to the tokens that the student predicts."""

from evax.tokenizers.base import Tokenizer
from evax.tokenizers.eva_x import EvaXTokenizer
from evax.tokenizers.hog import HogTokenizer
from evax.tokenizers.pixels import PixelTokenizer
from evax.tokenizers.vit import VitTokenizer

__all__ = ["EvaXTokenizer", "HogTokenizer", "PixelTokenizer", "Tokenizer", "VitTokenizer"]
