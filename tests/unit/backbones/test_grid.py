"""Sizes that whole patches cover, and those nearest to another."""

import pytest
import timm
from explained import BACKBONES
from tiny import tiny_backbone

from evax.backbones.grid import check_grid, patch_size_of


@pytest.fixture(scope="module")
def patches_of_14():
    return timm.create_model(
        "vit_tiny_patch16_224", patch_size=14, img_size=70, embed_dim=32, depth=1, num_heads=2, num_classes=0
    )


def test_the_patch_size_is_the_backbones_own(patches_of_14):
    found = [patch_size_of(each) for each in (patches_of_14, tiny_backbone(), BACKBONES["resnet"]((64, 64)))]
    assert found == [14, 16, None]


@pytest.mark.parametrize("size", [14, 224, 518])
def test_multiples_of_the_patch_size_are_covered(patches_of_14, size):
    check_grid(patches_of_14, size)


@pytest.mark.parametrize(("size", "nearest"), [(512, "504 or 518"), (15, "14 or 28"), (8, "14"), (0, "14")])
def test_others_are_refused_with_the_nearest_sizes(patches_of_14, size, nearest):
    with pytest.raises(ValueError, match=f"^image_size={size} is not a multiple of the patch size 14; use {nearest}$"):
        check_grid(patches_of_14, size)


def test_a_cnn_has_no_patches():
    check_grid(BACKBONES["densenet"]((64, 64)), 100)
