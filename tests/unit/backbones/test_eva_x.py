import pytest
import timm
import torch
from tiny import tiny_backbone

from evax.backbones import EvaX, create_backbone
from evax.backbones.drop_path import GlobalDropPath


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return tiny_backbone().eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def is_masked():
    return torch.rand(2, 16, generator=torch.Generator().manual_seed(2)) < 0.4


def hide(images, is_masked, value):
    """Overwrite the pixels of hidden patches."""
    pixels = is_masked.view(-1, 1, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    return torch.where(pixels, value, images)


def distance(a, b) -> float:
    return (a - b).abs().max().item()


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (96, 32), (16, 16), (128, 112)])
@torch.no_grad()
def test_any_multiple_of_the_patch_size_works(backbone, size):
    images = torch.randn(1, 3, *size)
    assert backbone.forward_tokens(images).shape == (1, (size[0] // 16) * (size[1] // 16), 32)
    assert backbone(images).shape == (1, 32)


@torch.no_grad()
def test_rows_and_columns_are_not_exchanged(backbone):
    torch.manual_seed(3)
    images = torch.randn(1, 3, 32, 96)
    tokens = backbone.forward_tokens(images)
    images[..., :16, 80:] += 1  # the last patch of the first row
    change = (backbone.forward_tokens(images) - tokens).abs().mean(-1)[0]
    assert change.argmax() == 5


@torch.no_grad()
def test_pooling_is_the_mean_of_the_tokens_before_the_norm(backbone, images):
    caught = []
    hook = backbone.blocks[-1].register_forward_hook(lambda module, inputs, output: caught.append(output))
    tokens = backbone.forward_tokens(images)
    hook.remove()
    patches = caught[0][:, 1:]
    assert distance(backbone(images), backbone.fc_norm(patches.mean(1))) < 1e-6
    assert distance(tokens, backbone.fc_norm(patches)) < 1e-6


def test_rotary_positions_are_rescaled_to_the_grid_of_224_pixels():
    rope = tiny_backbone().rope
    reference = rope.get_embed(shape=[14, 14]).view(14, 14, -1)
    finer = rope.get_embed(shape=[28, 28]).view(28, 28, -1)
    assert distance(finer[::2, ::2], reference) < 1e-6
    assert distance(finer[:14, :14], reference) > 0.1


@torch.no_grad()
def test_content_of_hidden_patches_cannot_change_the_tokens(backbone, images, is_masked):
    seen = backbone.forward_tokens(images, is_masked)
    assert torch.equal(seen, backbone.forward_tokens(hide(images, is_masked, 100.0), is_masked))
    assert distance(seen, backbone.forward_tokens(hide(images, ~is_masked, 100.0), is_masked)) > 1e-3


@torch.no_grad()
def test_hidden_patches_keep_their_positions(images, is_masked):
    backbone = tiny_backbone().eval()
    backbone.mask_token.fill_(0.5)
    caught = []
    backbone.blocks[0].register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    backbone.forward_tokens(images, is_masked)
    expected = (0.5 + backbone.pos_embed[:, 1:]).expand(2, -1, -1)
    assert torch.equal(caught[0][:, 1:][is_masked], expected[is_masked])


@torch.no_grad()
def test_an_empty_mask_hides_nothing(backbone, images):
    nothing = torch.zeros(2, 16, dtype=torch.bool)
    assert torch.equal(backbone.forward_tokens(images, nothing), backbone.forward_tokens(images))


def test_masking_without_a_mask_token_says_what_to_do(images, is_masked):
    with pytest.raises(ValueError, match=r"backbone\.mask_token=true"):
        tiny_backbone(mask_token=False).forward_tokens(images, is_masked)


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_gradient_checkpointing_gives_the_same_gradients(images, is_masked, drop):
    gradients = []
    for is_on in (False, True):
        torch.manual_seed(0)
        backbone = tiny_backbone(drop_path_rate=drop).train()
        backbone.set_grad_checkpointing(is_on)
        torch.manual_seed(1)  # of drop path
        backbone.forward_tokens(images, is_masked).square().mean().backward()
        gradients.append({name: p.grad for name, p in backbone.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradient, gradients[1][name]) for name, gradient in gradients[0].items())


def test_import_registers_the_sizes_with_timm():
    assert timm.list_models("eva_x_*") == [f"eva_x_{size}_patch16_224" for size in ("base", "small", "tiny")]


def test_timm_builds_the_small_model_and_knows_its_preprocessing():
    model = timm.create_model("eva_x_small_patch16_224")
    assert isinstance(model, EvaX)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 21.7
    assert model.pretrained_cfg["mean"] == (0.49185243,) * 3


@torch.no_grad()
def test_timm_adds_a_classifier_where_asked(images):
    assert tiny_backbone(num_classes=5)(images).shape == (2, 5)


def test_create_backbone_sets_what_it_is_asked_for():
    model = create_backbone(
        "eva_x_tiny", image_size=(32, 64), mask_token=True, drop_path=0.2, gradient_checkpointing=True
    )
    rates = [module.drop_prob for module in model.modules() if isinstance(module, GlobalDropPath)]
    assert (model.pos_embed.shape[1], max(rates), model.grad_checkpointing) == (9, pytest.approx(0.2), True)
    assert model.mask_token is not None


def test_an_unknown_backbone_lists_the_known():
    with pytest.raises(ValueError, match=r"backbone\.name=eva_x_huge is none of .*did you mean .eva_x_base"):
        create_backbone("eva_x_huge")
