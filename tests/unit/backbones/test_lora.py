"""Low-rank adapters: they start as nothing, are all that learns, and merge into plain weights."""

import pytest
import torch
from tiny import SUB_LN, tiny_backbone
from torch import nn

from evax import create_backbone
from evax.backbones.lora import LoRA, add_lora
from evax.checkpoints.lora import merged

LAYOUTS = {"fused": {}, "split": SUB_LN}


def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=LAYOUTS)
def adapted(request):
    """A backbone, and a copy of it with adapters of rank 3."""
    settings = LAYOUTS[request.param]
    plain, model = (tiny_backbone(mask_token=False, **settings).eval() for _ in range(2))
    model.load_state_dict(plain.state_dict())
    add_lora(model, LoRA(rank=3, alpha=6.0))
    return plain, model


@torch.no_grad()
def test_nothing_changes_at_first(adapted):
    plain, model = adapted
    torch.testing.assert_close(model(images()), plain(images()), rtol=0, atol=0)


def test_only_adapters_of_attention_learn(adapted):
    _, model = adapted
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names
    assert all(".attn." in name and name.endswith((".up", ".down")) for name in names)
    model(images()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    # two blocks, 32 wide: rank 3 of (32, 32) for each of q, k, v (or of (96, 32) at once) and of the output
    fused = 3 * (96 + 32) + 3 * (32 + 32)
    split = 4 * 3 * (32 + 32)
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert count == 2 * (split if model.blocks[0].attn.qkv is None else fused)


@torch.no_grad()
def test_merged_weights_give_the_same_features(adapted):
    plain, model = adapted
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):
            nn.init.normal_(parameter)
    ours = model(images())
    assert (ours - plain(images())).abs().max() > 1e-2
    plain.load_state_dict(merged(model.state_dict()))
    torch.testing.assert_close(plain(images()), ours, rtol=0, atol=1e-5)


def test_a_plain_vit_takes_adapters_too():
    model = create_backbone("vit_tiny_patch16_224", image_size=32)
    add_lora(model, LoRA(rank=1))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 12 * ((192 + 3 * 192) + (192 + 192))


def test_a_network_without_attention_is_refused():
    with pytest.raises(ValueError, match="adapts attention, which this backbone does not have"):
        add_lora(nn.Sequential(nn.Conv2d(3, 8, 3)), LoRA())


@pytest.mark.parametrize("settings", [{"rank": 0}, {"alpha": 0.0}])
def test_numbers_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=r"model.lora.rank=.* must be above 0"):
        LoRA(**settings)
