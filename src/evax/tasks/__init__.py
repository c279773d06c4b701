"""LightningModules: wiring of backbones, heads and losses; no mathematics of their own."""

from evax.tasks.classification import Classifier
from evax.tasks.mim import MaskedImageModeling
from evax.tasks.segmentation import Segmenter

__all__ = ["Classifier", "MaskedImageModeling", "Segmenter"]
