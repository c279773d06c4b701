import torch
from torch import nn

from evax.heads.unet import UNetHead

WIDTHS = (64, 256, 512, 1024, 2048)  # of ResNet-50


def test_its_parameters_are_those_of_the_published_baseline():
    """Two 3x3 convolutions with BatchNorm a block, no centre, then 16 to 64 and a 1x1."""
    inputs = ((2048 + 1024, 256), (256 + 512, 128), (128 + 256, 64), (64 + 64, 32), (32, 16))
    blocks = sum(9 * (width * out + out * out) + 4 * out for width, out in inputs)
    head = 9 * 16 * 64 + 2 * 64 + 64 + 1
    assert sum(each.numel() for each in UNetHead(WIDTHS, 1).parameters()) == blocks + head


def test_logits_have_the_size_of_the_images_by_nearest_upsampling():
    head = UNetHead((4, 6, 8, 10, 12), 2).eval()
    maps = [torch.randn(1, width, 32 >> level, 32 >> level) for level, width in enumerate((4, 6, 8, 10, 12))]
    assert head(maps).shape == (1, 2, 64, 64)
    assert {block.interpolation_mode for block in head.decoder.blocks} == {"nearest"}


def test_dropout_comes_before_the_last_convolution():
    head = UNetHead((4, 6, 8, 10, 12), 1, dropout=nn.Threshold(torch.inf, 0.0)).eval()
    maps = [torch.randn(1, width, 32 >> level, 32 >> level) for level, width in enumerate((4, 6, 8, 10, 12))]
    torch.testing.assert_close(head(maps), head.classify.bias.expand(1, 64, 64)[:, None])
