"""Which kernel computes attention: PyTorch's fused one, a plain one for audits, or xformers on CUDA."""

from importlib import import_module
from importlib.util import find_spec
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from timm.layers import apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn

Attention = Literal["auto", "sdpa", "eager", "xformers"]


class AttentionError(RuntimeError):
    """The asked-for attention kernel cannot run here."""


class XformersEvaAttention(EvaAttention):
    """timm's EVA attention with xformers' memory-efficient kernel; same parameters, same result."""

    def forward(
        self, x: Tensor, rope: Tensor | None = None, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Attend over (B, N, D); masks are not supported."""
        if attn_mask is not None or is_causal:
            raise AttentionError("backbone.attention=xformers takes no attention mask; use backbone.attention=sdpa")
        batch, num_tokens, _ = x.shape
        q, k, v = (t.reshape(batch, num_tokens, self.num_heads, -1) for t in self._project(x))  # (B, N, H, d)
        if rope is not None:
            q, k = (self._rotate(t, rope).type_as(v) for t in (q, k))
        attend = import_module("xformers.ops").memory_efficient_attention
        x = attend(q, k, v, p=self.attn_drop.p if self.training else 0.0, scale=self.scale)
        return self.proj_drop(self.proj(self.norm(x.reshape(batch, num_tokens, -1))))

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.qkv is None:
            return self.q_proj(x), self.k_proj(x), self.v_proj(x)
        bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
        return F.linear(x, self.qkv.weight, bias).chunk(3, dim=-1)

    def _rotate(self, tokens: Tensor, rope: Tensor) -> Tensor:
        prefix, patches = tokens.split([self.num_prefix_tokens, tokens.shape[1] - self.num_prefix_tokens], dim=1)
        patches = apply_rot_embed_cat(patches.transpose(1, 2), rope).transpose(1, 2)
        return torch.cat([prefix, patches.type_as(prefix)], dim=1)


def use_attention(model: nn.Module, attention: Attention) -> None:
    """Switch every EVA attention of `model` to a kernel, in place.

    `auto` and `sdpa` are PyTorch's fused attention; `eager` writes the products out. Raises AttentionError where
    xformers is asked for but cannot run: there is no silent fallback.
    """
    if attention not in get_args(Attention):
        raise AttentionError(f"backbone.attention={attention} is not one of {', '.join(get_args(Attention))}")
    if attention == "xformers":
        _require_xformers()
    for module in model.modules():
        if isinstance(module, EvaAttention):
            module.__class__ = XformersEvaAttention if attention == "xformers" else EvaAttention
            module.fused_attn = attention != "eager"


def _require_xformers() -> None:
    if find_spec("xformers") is None:
        raise AttentionError(
            "backbone.attention=xformers needs the extra: pip install 'evax[xformers]', or use backbone.attention=sdpa"
        )
    if not torch.cuda.is_available():
        raise AttentionError(
            "backbone.attention=xformers has no CPU kernels and no CUDA device is visible; use backbone.attention=sdpa"
        )
