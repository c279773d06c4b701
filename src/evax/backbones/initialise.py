"""Weight initialisation for pre-training from scratch (EVA-02's `xavier_normal` recipe)."""

import math

import torch
from timm.models.eva import Eva
from torch import nn


@torch.no_grad()
def initialise_for_pretraining(model: Eva) -> None:
    """Xavier-normal linears, Xavier-uniform patch kernel, tokens N(0, 0.02) cut at one sigma, in place.

    The sub-LN models (EVA-X-B) multiply MLP, attention output and value weights by sqrt(ln(2 * depth)).
    Source: EVA-02 pre-training recipe (Fang et al. 2023, appendix); the depth rescale of fine-tuning is not used.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    kernel = model.patch_embed.proj.weight
    nn.init.xavier_uniform_(kernel.view(len(kernel), -1))
    nn.init.zeros_(model.patch_embed.proj.bias)
    for token in (model.cls_token, model.pos_embed, getattr(model, "mask_token", None)):
        if token is not None:
            nn.init.trunc_normal_(token, std=0.02, a=-0.02, b=0.02)
    if not isinstance(model.blocks[0].mlp.norm, nn.Identity):
        _scale_sub_ln(model, math.sqrt(math.log(2 * len(model.blocks))))


def _scale_sub_ln(model: Eva, factor: float) -> None:
    for block in model.blocks:
        for linear in (block.mlp.fc1_g, block.mlp.fc1_x, block.mlp.fc2, block.attn.proj, block.attn.v_proj):
            linear.weight.mul_(factor)
