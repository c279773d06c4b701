"""Attention of EVA with rotary positions, by a chosen kernel: PyTorch's fused one, plain products, or xformers."""

from importlib import import_module
from importlib.util import find_spec
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models.eva import EvaAttention
from torch import Tensor, nn

Attention = Literal["auto", "sdpa", "eager", "xformers"]


class AttentionError(RuntimeError):
    """The asked-for attention kernel cannot run here."""


# Shapes: H heads of d dimensions, d = 2 P, the pairs that turn together; n patches, N with the prefix
class EvaXAttention(EvaAttention):
    """timm's EVA attention, with its parameters and its result, by the kernel that `use_attention` sets."""

    kernel: Attention

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        rope: Float[Tensor, "N P 2"] | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Float[Tensor, "B N D"]:
        """Attend over all tokens; `rope` is a `rotary_table`. Masks are not supported."""
        if attn_mask is not None or is_causal:
            raise AttentionError("EVA-X attends over all tokens and takes no attention mask")
        q, k, v = (tokens.unflatten(-1, (self.num_heads, -1)) for tokens in self._project(x))  # (B, N, H, d)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        x = self._attend(q, k, v)
        return self.proj_drop(self.proj(self.norm(x.flatten(-2))))

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.qkv is None:
            return self.q_proj(x), self.k_proj(x), self.v_proj(x)
        bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
        return F.linear(x, self.qkv.weight, bias).chunk(3, dim=-1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        dropout = self.attn_drop.p if self.training else 0.0
        if self.kernel == "xformers":
            return import_module("xformers.ops").memory_efficient_attention(q, k, v, p=dropout, scale=self.scale)
        q, k, v = (tokens.transpose(1, 2) for tokens in (q, k, v))  # (B, H, N, d)
        # On CPUs the gradient of the fused kernel is slow in bf16: 56 ms a block against 3 (docs/decisions.md)
        is_slow_fused = q.device.type == "cpu" and q.dtype == torch.bfloat16
        if self.kernel == "eager" or (self.kernel == "auto" and is_slow_fused):
            weights = (q * self.scale @ k.transpose(-2, -1)).softmax(-1)
            x = F.dropout(weights, dropout) @ v
        else:
            x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=self.scale)
        return x.transpose(1, 2)


def rotary_table(rope: Float[Tensor, "n sines_cosines"], num_prefix_tokens: int) -> Float[Tensor, "N P 2"]:
    """Cosine and sine per token and pair of dimensions, from timm's table of patches; prefix tokens do not turn.

    timm's rows are [sines, cosines], where both numbers of a pair have one angle.
    """
    sine, cosine = (half[:, ::2] for half in rope.chunk(2, dim=-1))
    table = torch.stack((cosine, sine), dim=-1)
    still = torch.tensor([1.0, 0.0]).to(table).expand(num_prefix_tokens, *table.shape[1:])
    return torch.cat((still, table))


def rotate(tokens: Float[Tensor, "B N H d"], table: Float[Tensor, "N P 2"]) -> Float[Tensor, "B N H d"]:
    """Turn consecutive pairs of dimensions by the angles of their token (RoFormer, Su et al. 2021), in fp32 or better.

    A pair is a complex number and turning is one product: half the memory traffic of swapping halves and adding.
    """
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    pairs, turn = tokens.to(dtype).unflatten(-1, (-1, 2)), table.to(dtype)[:, None]
    if torch.compiler.is_compiling():  # the compiler fuses real arithmetic, but has no complex numbers
        (x, y), (cosine, sine) = pairs.unbind(-1), turn.unbind(-1)
        turned = torch.stack((x * cosine - y * sine, x * sine + y * cosine), dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(turn))
    return turned.flatten(-2).type_as(tokens)


def use_attention(model: nn.Module, attention: Attention) -> None:
    """Switch every EVA attention of `model` to a kernel, in place.

    `sdpa` is PyTorch's fused attention and `eager` writes the products out; `auto` takes the faster of them. Raises
    AttentionError where xformers is asked for but cannot run: there is no silent fallback.
    """
    if attention not in get_args(Attention):
        raise AttentionError(f"backbone.attention={attention} is not one of {', '.join(get_args(Attention))}")
    if attention == "xformers":
        _require_xformers()
    for module in model.modules():
        if isinstance(module, EvaAttention):
            module.__class__ = EvaXAttention
            cast("EvaXAttention", module).kernel = attention


def _require_xformers() -> None:
    if find_spec("xformers") is None:
        raise AttentionError(
            "backbone.attention=xformers needs the extra: pip install -e '.[xformers]', or use backbone.attention=sdpa"
        )
    if not torch.cuda.is_available():
        raise AttentionError(
            "backbone.attention=xformers has no CPU kernels and no CUDA device is visible; use backbone.attention=sdpa"
        )
