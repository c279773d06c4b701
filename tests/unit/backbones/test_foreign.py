import logging

import foreign_files as files
import pytest
import torch
from foreign_files import filled
from timm.models.vision_transformer import VisionTransformer

from evax import create_backbone
from evax.backbones.drop_path import GlobalDropPath
from evax.data.normalisation import HALF

TINY = "vit_tiny_patch16_224"  # 192 wide


@torch.no_grad()
def test_a_timm_name_gives_a_pooled_vit_of_the_asked_size():
    model = create_backbone(TINY, image_size=64, drop_path=0.2, gradient_checkpointing=True)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, GlobalDropPath)]
    assert isinstance(model, VisionTransformer)
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 192)
    assert (max(rates), model.grad_checkpointing) == (pytest.approx(0.2), True)


def test_weights_fill_it_and_tell_the_normalisation(tmp_path):
    state = filled(files.mgca(192))
    torch.save(files.lightning_checkpoint(state), tmp_path / "vit.ckpt")
    model = create_backbone(TINY, weights=tmp_path / "vit.ckpt")
    assert torch.equal(model.norm.bias, state["img_encoder_q.model.norm.bias"])
    assert (model.pretrained_cfg["mean"], model.pretrained_cfg["std"]) == HALF


def test_weights_that_do_not_tell_are_named_in_a_warning(tmp_path, caplog):
    torch.save({"model": filled(files.mae(192))}, tmp_path / "mae.pth")
    with caplog.at_level(logging.WARNING):
        create_backbone(TINY, weights=tmp_path / "mae.pth")
    assert "mae.pth does not tell how its images were normalised" in caplog.text


@pytest.mark.parametrize("option", [{"mask_token": True}, {"attention": "sdpa"}, {"initialise": "pretraining"}])
def test_options_of_eva_x_are_refused(option):
    with pytest.raises(ValueError, match=rf"backbone\.{next(iter(option))} is an option of eva_x_tiny.*for {TINY}"):
        create_backbone(TINY, **option)


@pytest.mark.parametrize("name", ["vit_bas_patch16_224", "resnet50"])
def test_an_unknown_name_lists_eva_x_and_what_is_near_in_timm(name):
    with pytest.raises(ValueError, match=rf"{name} is none of eva_x_tiny.*(did you mean|the nearest are) ") as refusal:
        create_backbone(name)
    assert "\n" not in str(refusal.value)


def test_a_slip_finds_the_name_that_was_meant():
    with pytest.raises(ValueError, match=r"did you mean 'vit_base_patch16_224'\?"):
        create_backbone("vit_bas_patch16_224")
