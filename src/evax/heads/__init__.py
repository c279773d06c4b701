"""What reads a backbone's features: token prediction, classification."""

from evax.heads.classifier import AttentiveClassifier, LinearClassifier
from evax.heads.token_prediction import TokenPredictionHead

__all__ = ["AttentiveClassifier", "LinearClassifier", "TokenPredictionHead"]
