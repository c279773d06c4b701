"""Vision Transformers; importing this package registers EVA-X with timm."""

from evax.backbones.eva_x import EvaX, create_backbone
from evax.backbones.foreign import create_foreign

__all__ = ["EvaX", "create_backbone", "create_foreign"]
