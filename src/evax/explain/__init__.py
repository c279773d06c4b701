"""Maps and pictures of what a model sees; takes any module, trains nothing."""

from evax.explain.attention import attention, reference_attention
from evax.explain.explainable import Explainable
from evax.explain.faithfulness import Curve, deletion, insertion
from evax.explain.methods import METHODS, Method, method_named
from evax.explain.pixels import to_pixels
from evax.explain.randomisation import Similarity, cascade
from evax.explain.tokens import pca_colours, pca_maps

__all__ = [
    "METHODS",
    "Curve",
    "Explainable",
    "Method",
    "Similarity",
    "attention",
    "cascade",
    "deletion",
    "insertion",
    "method_named",
    "pca_colours",
    "pca_maps",
    "reference_attention",
    "to_pixels",
]
