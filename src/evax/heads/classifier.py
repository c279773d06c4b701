"""From features to one logit per class."""

from jaxtyping import Float
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn

HEAD_SCALE = 1e-3  # of the first weights, as in the published fine-tuning: training starts near even odds


class LinearClassifier(nn.Module):
    """One linear layer on pooled features (EVA-X paper, section 4.2); weights start as N(0, 0.02) times 0.001."""

    reads_tokens = False

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.projection.weight, std=0.02)
        self.projection.weight.data.mul_(HEAD_SCALE)
        nn.init.zeros_(self.projection.bias)

    def forward(self, features: Float[Tensor, "B D"]) -> Float[Tensor, "B C"]:
        """Logits of pooled features."""
        return self.projection(features)


class AttentiveClassifier(nn.Module):
    """A query per film reads all patch tokens, then one linear layer: what frozen backbones are judged by.

    The adapter of RayDINO (Moutakanni et al. 2024) and of V-JEPA: one cross-attention with its MLP. timm's
    `AttentionPoolLatent` does the attending.
    """

    reads_tokens = True

    def __init__(self, width: int, num_classes: int, *, num_heads: int = 8) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"model.num_heads={num_heads} does not divide the backbone's {width} features")
        self.norm = nn.LayerNorm(width)
        self.pool = AttentionPoolLatent(width, num_heads=num_heads, mlp_ratio=4.0, norm_layer=nn.LayerNorm)
        self.linear = LinearClassifier(width, num_classes)

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B C"]:
        """Logits of patch tokens."""
        return self.linear(self.pool(self.norm(tokens)))
