import torch

from evax.heads.pyramid import FeaturePyramid


def test_it_has_the_parameters_of_the_published_one_for_eva_x_s():
    assert sum(each.numel() for each in FeaturePyramid(384).parameters()) == 1_771_392


def test_one_map_becomes_four_strides():
    pyramid = FeaturePyramid(8)
    levels = pyramid([torch.randn(2, 8, 6, 6)] * 4)
    assert [each.shape for each in levels] == [(2, 8, 24, 24), (2, 8, 12, 12), (2, 8, 6, 6), (2, 8, 3, 3)]


def test_levels_are_those_of_eva_x():
    pyramid, maps = FeaturePyramid(4).eval(), [torch.randn(1, 4, 4, 4) for _ in range(4)]
    first, norm, _, second = pyramid.levels[0]
    finest = second(torch.nn.functional.gelu(norm(first(maps[0]))))
    torch.testing.assert_close(pyramid(maps)[0], finest)
    torch.testing.assert_close(pyramid(maps)[2], maps[2])
    torch.testing.assert_close(pyramid(maps)[3], torch.nn.functional.max_pool2d(maps[3], 2))
