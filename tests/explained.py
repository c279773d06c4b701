"""Small classifiers of every kind, to be explained."""

import timm
import torch
from timm.models.densenet import DenseNet
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from tiny import SUB_LN, tiny_backbone
from torch import nn

from evax.explain import Explainable
from evax.heads import AttentiveClassifier, LinearClassifier

CLASSES = ("Mass", "Nodule", "Edema")
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
VIT = "vit_tiny_patch16_224"
CHANNELS = (8, 16, 24, 32)

BACKBONES = {
    "eva_x": lambda size: tiny_backbone(),
    "eva_x_sub_ln": lambda size: tiny_backbone(**SUB_LN),
    "eva02": lambda size: timm.create_model("eva02_tiny_patch14_224", img_size=size, patch_size=16, **SMALL),
    "vit": lambda size: timm.create_model(VIT, img_size=size, **SMALL),
    "vit_registers": lambda size: timm.create_model(VIT, img_size=size, reg_tokens=3, **SMALL),
    "vit_no_class_token": lambda size: timm.create_model(
        VIT, img_size=size, class_token=False, global_pool="avg", **SMALL
    ),
    "resnet_basic": lambda size: ResNet(BasicBlock, (1, 1, 1, 1), channels=CHANNELS, num_classes=0),
    "resnet": lambda size: ResNet(Bottleneck, (1, 1, 1, 1), channels=CHANNELS, num_classes=0),
    "densenet": lambda size: DenseNet(growth_rate=8, block_config=(1, 1, 1, 2), num_classes=0),
}
TRANSFORMERS = tuple(name for name in BACKBONES if name.startswith(("eva", "vit")))
CNNS = tuple(name for name in BACKBONES if name not in TRANSFORMERS)


class Toy(nn.Module):
    """A backbone and a head with weights that matter, in training mode as a task may be."""

    classes = CLASSES

    def __init__(self, name: str = "eva_x", size: tuple[int, int] = (64, 64), attentive: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = BACKBONES[name](size)
        width = self.backbone.num_features
        self.head = AttentiveClassifier(width, 3, num_heads=2) if attentive else LinearClassifier(width, 3)
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, std=0.2)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)  # timm starts the last one of a residual at 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images))


def toy(name: str = "eva_x", size: tuple[int, int] = (64, 64), **settings) -> Explainable:
    return Explainable(Toy(name, size, **settings))


def images(count: int = 2, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def classes(count: int = 2) -> torch.Tensor:
    return torch.arange(count) % 3


def num_hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())
