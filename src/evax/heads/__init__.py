"""What reads a backbone's features: token prediction, classification, segmentation."""

from evax.heads.classifier import AttentiveClassifier, LinearClassifier
from evax.heads.pyramid import FeaturePyramid
from evax.heads.token_prediction import TokenPredictionHead
from evax.heads.unet import UNetHead
from evax.heads.upernet import UPerHead

__all__ = ["AttentiveClassifier", "FeaturePyramid", "LinearClassifier", "TokenPredictionHead", "UNetHead", "UPerHead"]
