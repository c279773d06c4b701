"""From the maps of a plain ViT, which all have one stride, to a pyramid of four."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Four maps at 4, 2, 1 and 1/2 times their resolution: strides 4, 8, 16 and 32 for patches of 16 pixels.

    EVA-X's segmentation, after ViTDet (Li et al. 2022) and BEiT: transposed convolutions up, max-pooling down, all at
    the backbone's width.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            [
                nn.Sequential(doubled(width), nn.BatchNorm2d(width), nn.GELU(), doubled(width)),
                doubled(width),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )

    def forward(self, maps: Sequence[Float[Tensor, "B D h w"]]) -> list[Float[Tensor, "B D _h _w"]]:
        """The finest map first."""
        return [level(each) for level, each in zip(self.levels, maps, strict=True)]


def doubled(width: int) -> nn.ConvTranspose2d:
    """Twice the resolution, learned."""
    return nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)
