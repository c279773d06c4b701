"""EVA-X: an EVA-02 style ViT (RoPE, SwiGLU) on timm's `Eva`, with a mask token and patch-token output."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.eva import Eva
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from evax.backbones.attention import Attention, rotary_table, use_attention
from evax.backbones.drop_path import replace_drop_path
from evax.backbones.foreign import Foreign, check_foreign, create_foreign
from evax.backbones.initialise import initialise_for_pretraining
from evax.checkpoints.resize import resize_position_table
from evax.data.normalisation import MERGED520K

log = logging.getLogger(__name__)

MEAN, STD = MERGED520K
ROPE_REFERENCE = (14, 14)  # rotary positions are rescaled to this grid, whatever the image size


class Size(NamedTuple):
    """What differs between the three published sizes."""

    width: int
    num_heads: int
    sub_ln: bool  # separate q/k/v and gate/value projections, LayerNorm inside the MLP


SIZES = {
    "eva_x_tiny": Size(192, 3, sub_ln=False),
    "eva_x_small": Size(384, 6, sub_ln=False),
    "eva_x_base": Size(768, 12, sub_ln=True),
}


class EvaX(Eva):
    """EVA-X student (EVA-X paper section 3.1; architecture of EVA-02, Fang et al. 2023).

    `model(images)` pools: mean of patch tokens, then `fc_norm`, (B, D). `forward_tokens` gives every patch token
    through the same LayerNorm, which is the `norm` of MIM files. Images are (B, 3, H, W), normalised with
    `pretrained_cfg["mean"]` and `["std"]`; H and W are any multiples of the patch size.
    """

    pretrained_cfg: Mapping[str, Any] = {"mean": MEAN, "std": STD}

    def __init__(self, *, mask_token: bool = False, attention: Attention = "auto", **eva: Any) -> None:
        super().__init__(dynamic_img_size=True, global_pool="avg", **eva)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dim)) if mask_token else None
        replace_drop_path(self)
        use_attention(self, attention)

    @property
    def patch_size(self) -> int:
        """Side of a square patch in pixels."""
        return self.patch_embed.patch_size[0]

    def forward_tokens(
        self, images: Float[Tensor, "B 3 H W"], is_masked: Bool[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B N D"]:
        """Final-normed patch tokens in row order; where `is_masked`, the patch is replaced by the mask token.

        Hidden patches keep their position embeddings (EVA-02). Raises ValueError without a mask token.
        """
        tokens = self.patch_embed(images)  # (B, rows, columns, D)
        if is_masked is not None:
            tokens = self._hide(tokens, is_masked)
        tokens, rope = self._pos_embed(tokens)
        for block in self.blocks:
            if self.grad_checkpointing and self.training:
                tokens = checkpoint(block, tokens, rope=rope, use_reentrant=False)
            else:
                tokens = block(tokens, rope=rope)
        return self.fc_norm(tokens[:, self.num_prefix_tokens :])

    def _hide(self, tokens: Tensor, is_masked: Tensor) -> Tensor:
        if self.mask_token is None:
            raise ValueError("this backbone was built without a mask token; build it with backbone.mask_token=true")
        hidden = is_masked.view(*tokens.shape[:3], 1)
        return torch.where(hidden, self.mask_token.to(tokens.dtype), tokens)

    def _pos_embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Prepend CLS and add positions for the grid of x (B, rows, columns, D).

        Other grids resize the learned table bicubic without antialias, as the published fine-tuning does (timm's
        own rule differs by about 6 % of a standard deviation), and recompute the rotary table.
        """
        grid = (x.shape[1], x.shape[2])
        table = resize_position_table(self.pos_embed, self.patch_embed.grid_size, grid)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1).to(x.dtype), x.flatten(1, 2)], dim=1)
        rope = rotary_table(self.rope.get_embed(shape=list(grid)), self.num_prefix_tokens)
        return self.pos_drop(tokens + table), rope


def create_backbone(
    name: str,
    *,
    weights: str | Path | None = None,
    weights_key: str | None = None,
    image_size: int | tuple[int, int] = 224,
    mask_token: bool = False,
    attention: Attention = "auto",
    drop_path: float = 0.0,
    gradient_checkpointing: bool = False,
    initialise: Literal["finetuning", "pretraining"] = "finetuning",
) -> EvaX | Foreign:
    """A backbone without classifier: `eva_x_tiny`, `eva_x_small`, `eva_x_base`, or a ViT, EVA or CNN by its timm name.

    `image_size` is the size of the learned position table (pixels); EVA-X also takes other sizes. `weights`
    is a run directory or a file in any known layout (`weights_key` names its container where there are several),
    and replaces the initialisation: "pretraining" is EVA-02's Xavier recipe, "finetuning" its truncated normal with
    depth rescale. `mask_token`, `attention` and `initialise` are EVA-X's own: timm's models are built as timm
    builds them. Raises ValueError for an unknown name and for options that a model does not have.
    """
    if name not in SIZES:
        check_foreign(name, others=SIZES)
        changed = {"mask_token": mask_token, "attention": attention != "auto", "initialise": initialise != "finetuning"}
        if unfit := [option for option, is_changed in changed.items() if is_changed]:
            raise ValueError(f"backbone.{unfit[0]} is an option of {', '.join(SIZES)}; leave it out for {name}")
        return create_foreign(
            name,
            weights=weights,
            weights_key=weights_key,
            image_size=image_size,
            drop_path=drop_path,
            gradient_checkpointing=gradient_checkpointing,
        )
    model = _build(
        f"{name}_patch16_224",
        img_size=image_size,
        mask_token=mask_token,
        attention=attention,
        drop_path_rate=drop_path,
    )
    model.set_grad_checkpointing(gradient_checkpointing)
    if initialise == "pretraining":
        initialise_for_pretraining(model)
    if weights is not None:
        from evax.checkpoints.weights import load_weights

        log.info("%s", load_weights(model, weights, key=weights_key))
    return model


def _build(variant: str, pretrained: bool = False, num_classes: int = 0, **overrides: Any) -> EvaX:
    size = SIZES[variant.removesuffix("_patch16_224")]
    sizes = {
        "img_size": 224,
        "patch_size": 16,
        "embed_dim": size.width,
        "depth": 12,
        "num_heads": size.num_heads,
        "mlp_ratio": 4 * 2 / 3,
        "swiglu_mlp": True,
        "scale_mlp": size.sub_ln,
        "qkv_fused": not size.sub_ln,
        "use_rot_pos_emb": True,
        "ref_feat_shape": ROPE_REFERENCE,
        "num_classes": num_classes,
    }
    return build_model_with_cfg(EvaX, variant, pretrained, **(sizes | overrides))


default_cfgs = generate_default_cfgs(
    {
        f"{name}_patch16_224": {
            "input_size": (3, 224, 224),
            "mean": MEAN,
            "std": STD,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "num_classes": 0,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "license": "mit",
        }
        for name in SIZES
    }
)


@register_model
def eva_x_tiny_patch16_224(pretrained: bool = False, **kwargs: Any) -> EvaX:
    """EVA-X-Ti/16: 5.5 M parameters."""
    return _build("eva_x_tiny_patch16_224", pretrained, **kwargs)


@register_model
def eva_x_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> EvaX:
    """EVA-X-S/16: 21.7 M parameters."""
    return _build("eva_x_small_patch16_224", pretrained, **kwargs)


@register_model
def eva_x_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> EvaX:
    """EVA-X-B/16: 85.9 M parameters, with sub-LN."""
    return _build("eva_x_base_patch16_224", pretrained, **kwargs)
