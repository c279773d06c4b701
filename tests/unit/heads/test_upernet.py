"""The library's UPerNet against one written after mmsegmentation's description."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evax.heads.upernet import UPerHead

CHANNELS, WIDTHS = 16, (8, 12, 20, 24)


class Reference(nn.Module):
    """`UPerHead` as mmsegmentation's documentation and EVA-X's configuration tell it; level 0 is the finest."""

    def __init__(self) -> None:
        super().__init__()
        self.pooled = nn.ModuleList(convolution(WIDTHS[3], 1) for _ in (1, 2, 3, 6))
        self.bottleneck = convolution(WIDTHS[3] + 4 * CHANNELS, 3)
        self.laterals = nn.ModuleList(convolution(width, 1) for width in WIDTHS[:3])
        self.fpn = nn.ModuleList(convolution(CHANNELS, 3) for _ in WIDTHS[:3])
        self.fuse = convolution(4 * CHANNELS, 3)
        self.classify = nn.Conv2d(CHANNELS, 3, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        coarse = maps[3]
        pooled = [
            resized(conv(F.adaptive_avg_pool2d(coarse, scale)), coarse)
            for scale, conv in zip((1, 2, 3, 6), self.pooled, strict=True)
        ]
        levels = [conv(each) for conv, each in zip(self.laterals, maps[:3], strict=True)]
        levels.append(self.bottleneck(torch.cat([coarse, *pooled], 1)))
        for level in (3, 2, 1):  # sums come before the 3x3 convolutions
            levels[level - 1] = levels[level - 1] + resized(levels[level], levels[level - 1])
        outputs = [conv(each) for conv, each in zip(self.fpn, levels[:3], strict=True)] + [levels[3]]
        return self.classify(self.fuse(torch.cat([resized(each, outputs[0]) for each in outputs], 1)))


def convolution(width: int, size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, CHANNELS, size, padding=size // 2, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU()
    )


def resized(each: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(each, like.shape[-2:], mode="bilinear", align_corners=False)


def copied(head: UPerHead) -> Reference:
    """The reference with the head's weights."""
    reference, decoder = Reference(), head.decoder
    pairs = [
        *zip(reference.pooled, [block[1] for block in decoder.psp.blocks], strict=True),
        (reference.bottleneck, decoder.psp.out_conv),
        *zip(reference.laterals, [b.conv_norm_relu for b in reversed(decoder.fpn_lateral_blocks)], strict=True),
        *zip(reference.fpn, reversed(decoder.fpn_conv_blocks), strict=True),
        (reference.fuse, decoder.fusion_block),
        (reference.classify, head.classify),
    ]
    for ours, theirs in pairs:
        ours.load_state_dict(theirs.state_dict())
    return reference


@pytest.mark.parametrize("is_training", [True, False])
def test_it_computes_what_mmsegmentation_does(is_training):
    torch.manual_seed(0)
    head = UPerHead(WIDTHS, 3, channels=CHANNELS)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.running_mean)
    reference = copied(head).train(is_training)
    maps = [torch.randn(2, width, 32 >> level, 32 >> level) for level, width in enumerate(WIDTHS)]
    ours = head.train(is_training)(maps)
    assert ours.shape == (2, 3, 32, 32)
    torch.testing.assert_close(ours, reference(maps), rtol=1e-5, atol=1e-5)


def test_it_has_the_parameters_of_the_published_one_for_eva_x_s():
    assert sum(each.numel() for each in UPerHead([384] * 4, 1).parameters()) == 8_067_329


def test_norms_of_incoming_maps_are_an_option():
    plain, normed = (UPerHead(WIDTHS, 1, channels=CHANNELS, norm_features=norm) for norm in (False, True))
    assert sum(each.numel() for each in normed.parameters()) - sum(each.numel() for each in plain.parameters()) == 128
    maps = [torch.randn(1, width, 16 >> level, 16 >> level) for level, width in enumerate(WIDTHS)]
    scaled = [10 * each for each in maps]
    torch.testing.assert_close(normed.eval()(scaled), normed(maps), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(plain.eval()(scaled), plain(maps), rtol=1e-3, atol=1e-4)


def test_dropout_is_of_the_fused_map():
    head = UPerHead(WIDTHS, 1, channels=CHANNELS, dropout=nn.Threshold(torch.inf, 0.0))
    maps = [torch.randn(1, width, 16 >> level, 16 >> level) for level, width in enumerate(WIDTHS)]
    torch.testing.assert_close(head.eval()(maps), head.classify.bias.expand(1, 16, 16)[:, None])
