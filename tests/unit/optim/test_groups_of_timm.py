"""Layer ids of plain ViTs are those of timm's own grouping."""

import pytest
import timm
from timm.models import group_parameters
from torch import nn

from evax.optim.groups import num_layers, parameter_groups

SMALL = {"embed_dim": 64, "depth": 3, "num_heads": 2, "num_classes": 0, "img_size": 32}


class Task(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(4, 2)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("deit_small_patch16_224", {"global_pool": "avg"}),
        ("vit_base_patch16_224", {"global_pool": "avg"}),
        ("vit_base_patch14_dinov2", {"global_pool": "avg", "img_size": 28}),
        ("eva02_small_patch14_224", {"patch_size": 16}),
    ],
)
def test_every_parameter_has_timm_s_layer(name, settings):
    backbone = timm.create_model(name, **(SMALL | settings))
    groups = parameter_groups(Task(backbone), weight_decay=0.05, layer_decay=0.5)
    scales = {name: group["lr_scale"] for group in groups for name in group["param_names"]}
    layers = group_parameters(backbone, backbone.group_matcher(coarse=False), reverse=True)
    assert scales["head.weight"] == 1
    assert {key: scales[f"backbone.{key}"] for key in layers} == {key: 0.5 ** (4 - layers[key]) for key in layers}


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_a_cnn_has_no_layers_to_slow_down(name):
    with pytest.raises(ValueError, match=r"optim\.layer_decay needs a backbone of blocks, a ViT; set it to 1\.0"):
        num_layers(Task(timm.create_model(name, num_classes=0)))
