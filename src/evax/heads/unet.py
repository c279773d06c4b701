"""U-Net: one logit map a channel from the stages of a CNN."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (256, 128, 64, 32, 16)  # of the decoder, the coarsest first
CHANNELS = 64  # of the map that is classified


class UNetHead(nn.Module):
    """The decoder of a U-Net (Ronneberger et al. 2015) on maps of strides 2 to 32, `widths` channels each.

    EVA-X's ResNet-50 baselines of segmentation: segmentation-models-pytorch's decoder with nearest upsampling to stride
    1, one 3x3 convolution, and a 1x1 convolution. `dropout` is applied before the latter, to (B, CHANNELS, H, W).
    """

    def __init__(self, widths: Sequence[int], num_outputs: int, *, dropout: nn.Module | None = None) -> None:
        super().__init__()
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder  # a second; most runs need none

        self.decoder = UnetDecoder([0, *widths], WIDTHS, n_blocks=len(WIDTHS))
        self.convolve = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], CHANNELS, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.dropout = dropout or nn.Identity()
        self.classify = nn.Conv2d(CHANNELS, num_outputs, kernel_size=1)

    def forward(self, maps: Sequence[Float[Tensor, "B _width _h _w"]]) -> Float[Tensor, "B C H W"]:
        """Logits at twice the resolution of the first map, that of the images."""
        rows, columns = maps[0].shape[-2:]
        whole = maps[0].new_empty(0, 0, 2 * rows, 2 * columns)  # the decoder asks it for its size alone
        return self.classify(self.dropout(self.convolve(self.decoder([whole, *maps]))))
