"""Maps from inside a backbone: where they are taken, their grid, and what is left out of training."""

import pytest
import timm
import torch
from tiny import SIZE, tiny_backbone

from evax.backbones import create_backbone
from evax.backbones.inner_maps import freeze_unread, inner_maps, places, tapped, widths

SMALL_VIT = {"embed_dim": 32, "depth": 4, "num_heads": 2, "num_classes": 0, "img_size": SIZE}


@pytest.mark.parametrize(
    ("depth", "taps", "blocks"),
    [
        (12, "last", (11, 11, 11, 11)),
        (12, "four", (3, 5, 7, 11)),  # published
        (24, "four", (5, 11, 17, 23)),
        (2, "four", (0, 0, 0, 1)),
    ],
)
def test_blocks_that_are_tapped(depth, taps, blocks):
    assert tapped(depth, taps) == blocks


def test_the_last_map_is_the_patch_tokens_before_the_final_norm():
    model, images = tiny_backbone(mask_token=False).eval(), torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        last = inner_maps(model, images, places(model, "last"))
        tokens = last[0].flatten(2).transpose(1, 2)
        torch.testing.assert_close(model.fc_norm(tokens), model.forward_tokens(images))
    assert [each.shape for each in last] == [(2, 32, 4, 4)] * 4


def test_four_maps_are_outputs_of_their_blocks_in_order():
    model, images = timm.create_model("vit_tiny_patch16_224", **SMALL_VIT).eval(), torch.randn(1, 3, SIZE, SIZE)
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output[:, 1:]))
    with torch.no_grad():
        maps = inner_maps(model, images, places(model, "four"))
    for tokens, each in zip(seen, maps, strict=True):
        torch.testing.assert_close(each.flatten(2).transpose(1, 2), tokens)


@torch.no_grad()
def test_positions_follow_the_grid_of_the_images():
    """512 pixels on the table of 224: the learned table is resized as the weights' loader does it."""
    torch.manual_seed(0)
    at_224 = create_backbone("eva_x_tiny").eval()
    at_512 = create_backbone("eva_x_tiny", image_size=512).eval()
    assert at_512.pos_embed.shape == (1, 1 + 32 * 32, 192)
    state = at_224.state_dict()
    from evax.checkpoints.resize import resize_position_table

    at_512.load_state_dict(state | {"pos_embed": resize_position_table(state["pos_embed"], (14, 14), (32, 32))})
    images = torch.randn(1, 3, 512, 512)
    ours, theirs = (inner_maps(model, images, [11])[0] for model in (at_224, at_512))
    assert ours.shape == (1, 192, 32, 32)
    torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_stages_of_a_cnn_have_strides_of_2_to_32():
    model = timm.create_model("resnet50", layers=(1, 1, 1, 1), num_classes=0).eval()
    maps = inner_maps(model, torch.zeros(1, 3, 64, 64), places(model, "last"))
    assert [each.shape[1] for each in maps] == widths(model, places(model, "last")) == [64, 256, 512, 1024, 2048]
    assert [each.shape[2] for each in maps] == [32, 16, 8, 4, 2]


@pytest.mark.parametrize(
    "model",
    [
        tiny_backbone(mask_token=True),
        timm.create_model("vit_tiny_patch16_224", **SMALL_VIT),
        timm.create_model("deit_tiny_distilled_patch16_224", **SMALL_VIT),
        timm.create_model("vit_tiny_patch16_224", **SMALL_VIT, global_pool="avg"),
        timm.create_model("resnet18", num_classes=0),
    ],
    ids=["eva_x", "vit", "distilled", "pooled", "resnet"],
)
def test_every_trained_parameter_gets_a_gradient(model):
    freeze_unread(model)
    maps = inner_maps(model.train(), torch.randn(2, 3, SIZE, SIZE), places(model, "last"))
    sum(each.square().sum() for each in maps).backward()
    assert [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None] == []
    assert sum(each.requires_grad for each in model.parameters()) > 10
