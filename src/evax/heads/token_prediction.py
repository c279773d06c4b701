"""From student features to the tokenizer's tokens."""

from jaxtyping import Bool, Float
from torch import Tensor, nn


class TokenPredictionHead(nn.Module):
    """One linear layer from the student's width to the tokenizer's, applied to masked tokens only."""

    def __init__(self, width: int, tokenizer_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, tokenizer_dim)
        nn.init.xavier_normal_(self.projection.weight)  # as every linear layer of EVA-02's pre-training
        nn.init.zeros_(self.projection.bias)

    def forward(self, features: Float[Tensor, "B N D"], is_masked: Bool[Tensor, "B N"]) -> Float[Tensor, "M T"]:
        """Predicted tokens of the masked patches, sample after sample, as `target[is_masked]` orders them."""
        return self.projection(features[is_masked])
