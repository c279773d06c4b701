"""Strategies that choose the hidden patches of a sample."""

from evax.masking.base import Masking
from evax.masking.blockwise import BlockwiseMasking
from evax.masking.uniform import UniformMasking

__all__ = ["BlockwiseMasking", "Masking", "UniformMasking"]
