"""Vision Transformers; importing this package registers EVA-X with timm."""

from evax.backbones.eva_x import EvaX, create_backbone

__all__ = ["EvaX", "create_backbone"]
