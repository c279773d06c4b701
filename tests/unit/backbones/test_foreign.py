import logging

import foreign_files as files
import pytest
import torch
from foreign_files import filled
from timm.models.vision_transformer import VisionTransformer

from evax.backbones import create_backbone, create_foreign
from evax.backbones.drop_path import GlobalDropPath
from evax.data.normalisation import CXR14, HALF, IMAGENET, Normalisation

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


@pytest.mark.parametrize("name", ["vit_bas_patch16_224", "convnext_base"])
def test_an_unknown_name_lists_eva_x_and_what_is_near_in_timm(name):
    with pytest.raises(ValueError, match=rf"{name} is none of eva_x_tiny.*(did you mean|the nearest are) ") as refusal:
        create_backbone(name)
    assert "\n" not in str(refusal.value)


def test_a_slip_finds_the_name_that_was_meant():
    with pytest.raises(ValueError, match=r"did you mean 'vit_base_patch16_224'\?"):
        create_backbone("vit_bas_patch16_224")


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "settings", "width"),
    [("resnet50", {"layers": (1, 1, 1, 1)}, 2048), ("densenet121", {"block_config": (1, 1, 1, 1)}, 68)],
)
def test_a_cnn_gives_pooled_features_of_any_size(name, settings, width):
    model = create_foreign(name, image_size=64, model_kwargs=settings).eval()
    assert model.num_features == width
    assert model(torch.zeros(1, 3, 96, 96)).shape == (1, width)
    assert Normalisation(*(model.pretrained_cfg[key] for key in ("mean", "std"))) == IMAGENET


def test_drop_path_reaches_a_resnet():
    model = create_foreign("resnet50", drop_path=0.2)
    assert max(m.drop_prob for m in model.modules() if isinstance(m, GlobalDropPath)) == pytest.approx(0.2)


def test_a_chosen_normalisation_comes_before_that_of_the_layout(tmp_path):
    torch.save({"state_dict": filled(files.mgca(192))}, tmp_path / "vit.ckpt")
    model = create_foreign(TINY, weights=tmp_path / "vit.ckpt", mean=CXR14.mean, std=CXR14.std)
    assert (model.pretrained_cfg["mean"], model.pretrained_cfg["std"]) == CXR14


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("densenet121", {"drop_path": 0.1}, r"backbone\.drop_path=0\.1: densenet121 has no paths to drop"),
        ("resnet50", {"gradient_checkpointing": True}, r"backbone\.gradient_checkpointing: resnet50 would count"),
        (TINY, {"mean": [0.5, 0.5, 0.5]}, r"backbone\.mean=.*: give both, three numbers each, or neither"),
        ("convnext_base", {}, r"backbone\.name=convnext_base is no ViT, EVA, ResNet or DenseNet of timm"),
    ],
)
def test_what_a_model_does_not_have_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        create_foreign(name, **settings)
