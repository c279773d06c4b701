"""An earlier student as tokenizer: the second round of pre-training."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from evax.backbones.eva_x import SIZES, create_backbone
from evax.checkpoints.published import weights_file
from evax.tokenizers.learned import LearnedTokenizer
from evax.tokenizers.precision import Precision


class EvaXTokenizer(LearnedTokenizer):
    """Final-normed patch tokens of an EVA-X backbone, from a run directory, an export or an official file.

    `name` is a size of `evax.create_backbone`; `image_size` (pixels) is the student's, so that the file's position
    table is resampled once at most.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str | Path | None,
        weights_key: str | None = None,
        image_size: int = 224,
        precision: Precision = "auto",
        origin: str = "a run directory, an export or an official EVA-X file",
    ) -> None:
        if name not in SIZES:
            raise ValueError(f"tokenizer.name={name} is none of {', '.join(SIZES)}; tokenizer=timm takes other models")
        path = weights_file(weights, origin)
        backbone: Any = create_backbone(name, weights=path, weights_key=weights_key, image_size=image_size)
        own = backbone.pretrained_cfg
        super().__init__(
            backbone, mean=own["mean"], std=own["std"], patch_size=backbone.patch_size, precision=precision
        )
        self.dim = backbone.embed_dim

    def encode(self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int]) -> Float[Tensor, "B N T"]:
        """All patch tokens, nothing hidden."""
        return self.network.forward_tokens(images)
