"""LightningModules: wiring of backbones, heads and losses; no mathematics of their own."""

from evax.tasks.classification import Classifier
from evax.tasks.mim import MaskedImageModeling

__all__ = ["Classifier", "MaskedImageModeling"]
