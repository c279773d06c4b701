"""Random state dicts with every key of the official EVA-X MIM files."""

from typing import NamedTuple

import torch
from torch import Tensor

HEAD_WIDTH = 64
TARGET_WIDTH = 768  # of the MGCA tokens that `lm_head` predicts


class OfficialSize(NamedTuple):
    """A published size; `is_split` is the base layout: separate projections, LayerNorm in the MLP."""

    width: int
    is_split: bool
    depth: int = 12

    @property
    def heads(self) -> int:
        return self.width // HEAD_WIDTH


OFFICIAL = {
    "eva_x_tiny": OfficialSize(192, is_split=False),
    "eva_x_small": OfficialSize(384, is_split=False),
    "eva_x_base": OfficialSize(768, is_split=True),
}


def official_state(size: OfficialSize, seed: int = 0, patch_size: int = 16, side: int = 14) -> dict[str, Tensor]:
    """Every tensor of a MIM file at its real shape, with values that let every part matter."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * scale + offset
        for name, (shape, scale, offset) in _shapes(size, patch_size, side).items()
    }


Shapes = dict[str, tuple[tuple[int, ...], float, float]]  # shape, standard deviation, mean


def _shapes(size: OfficialSize, patch_size: int, side: int) -> Shapes:
    width = size.width
    shapes: Shapes = {
        "cls_token": ((1, 1, width), 0.5, 0.0),
        "mask_token": ((1, 1, width), 0.5, 0.0),
        "pos_embed": ((1, side**2 + 1, width), 0.5, 0.0),
        "patch_embed.proj.weight": ((width, 3, patch_size, patch_size), (3 * patch_size**2) ** -0.5, 0.0),
        "patch_embed.proj.bias": ((width,), 0.1, 0.0),
        **_norm("norm", width),
        **_linear("lm_head", width, TARGET_WIDTH),
        **_rope("rope", side),
    }
    for number in range(size.depth):
        shapes |= {f"blocks.{number}.{name}": shape for name, shape in _block(size, side).items()}
    return shapes


def _block(size: OfficialSize, side: int) -> Shapes:
    width, hidden = size.width, int(size.width * 4 * 2 / 3)
    shapes = {
        **_norm("norm1", width),
        **_norm("norm2", width),
        "attn.q_bias": ((width,), 0.1, 0.0),
        "attn.v_bias": ((width,), 0.1, 0.0),
        **_linear("attn.proj", width, width),
        **_rope("attn.rope", side),
        **_linear("mlp.w3", hidden, width),
    }
    if size.is_split:
        projections = {f"attn.{n}_proj.weight": ((width, width), width**-0.5, 0.0) for n in "qkv"}
        mlp = _linear("mlp.w1", width, hidden) | _linear("mlp.w2", width, hidden) | _norm("mlp.ffn_ln", hidden)
        return shapes | projections | mlp
    return shapes | {"attn.qkv.weight": ((3 * width, width), width**-0.5, 0.0)} | _linear("mlp.w12", width, 2 * hidden)


def _linear(name: str, fan_in: int, fan_out: int) -> Shapes:
    return {f"{name}.weight": ((fan_out, fan_in), 0.4 * fan_in**-0.5, 0.0), f"{name}.bias": ((fan_out,), 0.1, 0.0)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": ((width,), 0.1, 1.0), f"{name}.bias": ((width,), 0.1, 0.0)}


def _rope(name: str, side: int) -> Shapes:
    return {f"{name}.freqs_{part}": ((side**2, HEAD_WIDTH), 1.0, 0.0) for part in ("cos", "sin")}
