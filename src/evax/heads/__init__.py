"""What turns backbone features into predictions."""

from evax.heads.token_prediction import TokenPredictionHead

__all__ = ["TokenPredictionHead"]
