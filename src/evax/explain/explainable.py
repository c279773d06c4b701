"""A trained model opened for explanation: its classes' logits, its grid of patches, and the layer that maps read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from timm.models.densenet import DenseNet
from timm.models.resnet import ResNet
from torch import Tensor, nn

from evax.backbones.precision import full_precision
from evax.backbones.preprocessing import normalisation_of
from evax.data.pixels import normalise, to_unit
from evax.heads import AttentiveClassifier, LinearClassifier


class Explainable:
    """A classifier (a task, or what `evax.load_classifier` gives), or a backbone that knows no class.

    Grid, prefix tokens and layer are the model's own: any EVA-X, timm ViT, EVA, ResNet or DenseNet, at any size that
    it takes. `layer` names another layer of the backbone than the usual one (`usual_layer`). The model is never
    changed: `evaluating` leaves modes and weights as it found them.
    """

    def __init__(self, model: nn.Module, layer: str | None = None) -> None:
        self.backbone: Any = getattr(model, "backbone", model)
        head = getattr(model, "head", None)
        self.head = head if isinstance(head, LinearClassifier | AttentiveClassifier) else None
        self.classes: tuple[str, ...] = tuple(getattr(model, "classes", ())) if self.head is not None else ()
        self.is_exclusive = bool(getattr(model, "is_exclusive", False))
        self.layer = usual_layer(self.backbone) if layer is None else _named_layer(self.backbone, layer)

    @property
    def name(self) -> str:
        """What errors call the model."""
        return type(self.backbone).__name__

    @property
    def has_classes(self) -> bool:
        """Whether there are logits to explain; a pre-trained student has none."""
        return self.head is not None

    @property
    def has_attention(self) -> bool:
        """Whether the model is made of blocks that attend; a CNN is not."""
        return bool(self.blocks)

    @property
    def blocks(self) -> list[nn.Module]:
        """The Transformer's blocks, from input to output; none in a CNN."""
        return list(getattr(self.backbone, "blocks", ()))

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches: the class token and registers."""
        return int(getattr(self.backbone, "num_prefix_tokens", 0))

    @property
    def width(self) -> int:
        """Features of a token."""
        return int(self.backbone.num_features)

    @property
    def reads_class_token(self) -> bool:
        """Whether logits are read from the class token; else from the patch tokens."""
        is_linear = self.head is None or not self.head.reads_tokens
        return is_linear and self.num_prefix_tokens > 0 and getattr(self.backbone, "global_pool", "") == "token"

    def grid(self, images: Float[Tensor, "B 3 H W"]) -> tuple[int, int]:
        """Rows and columns of patches, or of a CNN's last feature map."""
        if self.has_attention:
            rows, columns = self.backbone.patch_embed.dynamic_feat_size(tuple(images.shape[-2:]))
            return int(rows), int(columns)
        with self.evaluating(), torch.no_grad():
            rows, columns = self.backbone.forward_features(self.cast(images[:1])).shape[-2:]
            return int(rows), int(columns)

    def images(self, squares: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Films as a data module or a view gives them, normalised as the backbone's weights ask."""
        return normalise(to_unit(squares), *normalisation_of(self.backbone))

    @full_precision()
    def logits(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Plain logits of normalised images; ValueError of a model without classes."""
        if self.head is None:
            raise ValueError(f"{self.name} has no classifier, so that there is no class to explain")
        images = self.cast(images)
        return self.head(self.backbone.forward_tokens(images) if self.head.reads_tokens else self.backbone(images))

    def chosen_logits(self, images: Float[Tensor, "B 3 H W"], classes: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        """The logit of one class a film, with its sign."""
        chosen = classes.to(images.device, torch.int64)
        return self.logits(images).gather(1, (chosen.clone() if chosen.is_inference() else chosen)[:, None])[:, 0]

    def probabilities(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Probabilities in [0, 1]: a sigmoid each, or of exclusive classes, adding up to 1."""
        logits = self.logits(images).float()
        return logits.softmax(1) if self.is_exclusive else logits.sigmoid()

    @full_precision()
    def tokens(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N D"]:
        """The last patch tokens in row order, or the places of a CNN's last feature map."""
        if hasattr(self.backbone, "forward_tokens"):
            return self.backbone.forward_tokens(self.cast(images))
        return self.on_grid(self.backbone.forward_features(self.cast(images)), images).flatten(2).mT

    def on_grid(self, output: Float[Tensor, "..."], images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D R C"]:
        """A layer's output for images, channels first and without prefix tokens; a CNN's as it is."""
        if output.ndim == 4:
            return output
        patches = output[:, self.num_prefix_tokens :]
        return patches.mT.unflatten(2, self.grid(images))

    def cast(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """Images in the precision of the weights, fit for gradients where they were made in inference mode."""
        images = images.to(next(self.backbone.parameters()).dtype)
        return images.clone() if images.is_inference() else images

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode, full precision, no weight asks for a gradient, nothing is recomputed; then all is as before.

        Recomputed blocks (gradient checkpointing) would hide from hooks what a gradient is asked for.
        """
        parts = [part for part in (self.backbone, self.head) if part is not None]
        modes = [(module, module.training) for part in parts for module in part.modules()]
        learning = [weight for part in parts for weight in part.parameters() if weight.requires_grad]
        has_gradients = torch.is_grad_enabled()
        recomputing = [module for module, _ in modes if getattr(module, "grad_checkpointing", False)]
        try:
            for part in parts:
                part.eval().requires_grad_(False)
            for module in recomputing:
                module.grad_checkpointing = False
            with torch.inference_mode(False), torch.set_grad_enabled(has_gradients), full_precision():
                yield
        finally:
            for module, mode in modes:
                module.training = mode
            for weight in learning:
                weight.requires_grad_(True)
            for module in recomputing:
                module.grad_checkpointing = True


def usual_layer(backbone: nn.Module) -> nn.Module:
    """The layer that EVA-X's Grad-CAM reads (its grad_cam/get_cams.py).

    `norm1` of a ViT's last block, the last BatchNorm of a ResNet's last block, and `norm1` of a DenseNet's last dense
    layer, before the activation that timm has in it.
    """
    parts: Any = backbone
    if isinstance(backbone, ResNet):
        last = parts.layer4[-1]
        return last.bn3 if hasattr(last, "bn3") else last.bn2
    if isinstance(backbone, DenseNet):
        return list(parts.features.denseblock4.children())[-1].norm1.drop
    blocks = getattr(parts, "blocks", None)
    if not blocks or not hasattr(blocks[-1], "norm1"):
        raise ValueError(f"{type(backbone).__name__} has no layer that maps are usually read from; name one as layer=")
    return blocks[-1].norm1


def _named_layer(backbone: nn.Module, name: str) -> nn.Module:
    try:
        return backbone.get_submodule(name)
    except AttributeError as error:
        examples = ", ".join([child for child, _ in backbone.named_modules() if child.endswith("norm1")][-3:])
        raise ValueError(f"layer={name} is none of {type(backbone).__name__}; some are {examples}") from error
