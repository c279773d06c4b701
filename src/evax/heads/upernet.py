"""UPerNet: one logit map a channel from a pyramid of four."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class UPerHead(nn.Module):
    """UPerNet (Xiao et al. 2018) on maps of strides 4, 8, 16 and 32, `widths` channels each.

    The decoder is that of segmentation-models-pytorch. Its graph is the `UPerHead` of mmsegmentation, with which EVA-X
    segments: the coarsest map pooled at 1, 2, 3 and 6; laterals summed from the top down before their 3x3 convolutions;
    everything at stride 4 concatenated, fused, and classified by a 1x1 convolution. The library normalises the incoming
    maps besides, which the published head does not: `norm_features`. Weights start as PyTorch's own, as published.
    `dropout` is applied to the fused map (B, channels, h, w).
    """

    def __init__(
        self,
        widths: Sequence[int],
        num_outputs: int,
        *,
        channels: int = 256,
        norm_features: bool = False,
        dropout: nn.Module | None = None,
    ) -> None:
        super().__init__()
        from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder  # a second; most runs need none

        self.decoder = UPerNetDecoder([0, 0, *widths], decoder_channels=channels)  # it leaves out strides 1 and 2
        if not norm_features:
            self.decoder.feature_norms = nn.ModuleList(nn.Identity() for _ in widths)
        self.dropout = dropout or nn.Identity()
        self.classify = nn.Conv2d(channels, num_outputs, kernel_size=1)

    def forward(self, maps: Sequence[Float[Tensor, "B _width _h _w"]]) -> Float[Tensor, "B C h w"]:
        """Logits at the resolution of the first map."""
        fused = self.decoder([maps[0], maps[0], *maps])
        return self.classify(self.dropout(fused))
