import math

import pytest
import torch
from tiny import SUB_LN, tiny_backbone
from torch import nn

from evax.backbones.initialise import initialise_for_pretraining

ONE_SIGMA_STD = 0.5396  # standard deviation of a unit normal cut at one sigma


def initialised(**settings):
    torch.manual_seed(0)
    model = tiny_backbone(embed_dim=96, depth=12, **settings)
    initialise_for_pretraining(model)
    return model


@pytest.fixture(scope="module")
def plain():
    return initialised()


@pytest.fixture(scope="module")
def sub_ln():
    return initialised(**SUB_LN)


def gain(linear: nn.Linear) -> float:
    """Standard deviation over that of Xavier."""
    return linear.weight.std().item() * math.sqrt(sum(linear.weight.shape) / 2)


def linears(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def test_linear_layers_are_xavier_normal(plain):
    assert {name: gain(linear) for name, linear in linears(plain).items()} == pytest.approx(
        dict.fromkeys(linears(plain), 1.0), rel=0.04
    )
    weight = plain.blocks[0].mlp.fc1.weight
    assert weight.abs().max() > 3 * weight.std()  # a uniform draw ends at 1.7


def test_sub_ln_widens_mlp_output_and_value_weights_by_depth(sub_ln):
    wide = ("fc1_g", "fc1_x", "fc2", "attn.proj", "v_proj")
    expected = {name: math.sqrt(math.log(24)) if name.endswith(wide) else 1.0 for name in linears(sub_ln)}
    assert {name: gain(linear) for name, linear in linears(sub_ln).items()} == pytest.approx(expected, rel=0.04)


def test_biases_are_zero_and_norms_are_the_identity(sub_ln):
    biases = [p for name, p in sub_ln.named_parameters() if name.endswith("bias")]
    norms = [module.weight for module in sub_ln.modules() if isinstance(module, nn.LayerNorm)]
    assert all(not bias.any() for bias in biases)
    assert all(bool((weight == 1).all()) for weight in norms)


def test_the_patch_kernel_is_xavier_uniform_over_its_flat_matrix(plain):
    kernel = plain.patch_embed.proj.weight
    bound = math.sqrt(6 / (96 + 3 * 16 * 16))
    assert kernel.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert kernel.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", ["cls_token", "pos_embed", "mask_token"])
def test_tokens_are_normal_and_cut_at_one_sigma(plain, name):
    token = plain.get_parameter(name)
    assert token.abs().max() <= 0.02
    assert token.std().item() == pytest.approx(0.02 * ONE_SIGMA_STD, rel=0.25)


def test_a_model_without_a_mask_token_is_accepted():
    initialise_for_pretraining(tiny_backbone(mask_token=False))
