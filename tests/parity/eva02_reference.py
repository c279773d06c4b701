"""An independent EVA-02 forward in plain torch, over state dicts in the official layout; for tests only.

Written from the description of the architecture: pre-norm blocks; SwiGLU with the gate in the first half of
`w12`; LayerNorm on the gated product where the file has `ffn_ln`; rotary embedding of neighbouring channels,
the first half of a head by row, the second by column.
Shapes: B images, H heads, T tokens (CLS first), N patches, D width, d head width
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
THETA = 10_000.0
EPSILON = 1e-6


class Output(NamedTuple):
    """Patch tokens through the final norm (B, N, D), and the final norm of their mean (B, D)."""

    tokens: Tensor
    pooled: Tensor


def eva02(
    state: State, images: Tensor, heads: int, rope_reference: int = 14, is_masked: Tensor | None = None
) -> Output:
    """Forward images (B, 3, H, W) of whole patches; `is_masked` (B, N) puts the mask token there."""
    kernel = state["patch_embed.proj.weight"]
    patches = F.conv2d(images, kernel, state["patch_embed.proj.bias"], stride=kernel.shape[-1])
    grid = (patches.shape[2], patches.shape[3])
    x = patches.flatten(2).transpose(1, 2)  # (B, N, D)
    if is_masked is not None:
        x[is_masked] = state["mask_token"][0, 0]
    x = torch.cat([state["cls_token"].expand(len(x), 1, -1), x], dim=1)
    x = x + _positions(state["pos_embed"], grid)
    angles = _angles(grid, x.shape[-1] // heads, rope_reference)
    for number in range(sum(name.endswith(".norm1.weight") for name in state)):
        x = _block(x, _below(state, f"blocks.{number}."), heads, angles)
    return Output(_layer_norm(x[:, 1:], state, "norm"), _layer_norm(x[:, 1:].mean(dim=1), state, "norm"))


def _block(x: Tensor, block: State, heads: int, angles: Tensor) -> Tensor:
    x = x + _attention(_layer_norm(x, block, "norm1"), _below(block, "attn."), heads, angles)
    return x + _swiglu(_layer_norm(x, block, "norm2"), _below(block, "mlp."))


def _attention(x: Tensor, p: State, heads: int, angles: Tensor) -> Tensor:
    matrices = p["qkv.weight"].chunk(3) if "qkv.weight" in p else [p[f"{n}_proj.weight"] for n in "qkv"]
    biases = (p["q_bias"], torch.zeros_like(p["q_bias"]), p["v_bias"])
    qkv = [x @ matrix.T + bias for matrix, bias in zip(matrices, biases, strict=True)]
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in qkv)
    q, k = _rotate(q, angles), _rotate(k, angles)  # (B, H, T, d)
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2) @ p["proj.weight"].T + p["proj.bias"]


def _swiglu(x: Tensor, p: State) -> Tensor:
    if "w12.weight" in p:
        gate, value = (x @ p["w12.weight"].T + p["w12.bias"]).chunk(2, dim=-1)
    else:
        gate, value = (x @ p[f"{n}.weight"].T + p[f"{n}.bias"] for n in ("w1", "w2"))
    hidden = gate * torch.sigmoid(gate) * value
    if "ffn_ln.weight" in p:
        hidden = _layer_norm(hidden, p, "ffn_ln")
    return hidden @ p["w3.weight"].T + p["w3.bias"]


def _angles(grid: tuple[int, int], head_width: int, reference: int) -> Tensor:
    """Rotation of every channel pair of every patch, (N, d / 2); any grid spans `reference` units."""
    half = head_width // 2
    frequencies = THETA ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)  # (d / 4,)
    rows, columns = (torch.arange(n, dtype=torch.float64) * reference / n for n in grid)
    by_row = (rows[:, None] * frequencies)[:, None].expand(*grid, -1)
    by_column = (columns[:, None] * frequencies)[None].expand(*grid, -1)
    return torch.cat([by_row, by_column], dim=-1).flatten(0, 1)


def _rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the channel pairs (0, 1), (2, 3), … of the patches; CLS is left as it is."""
    pairs = torch.view_as_complex(x[:, :, 1:].double().unflatten(-1, (-1, 2)))
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    return torch.cat([x[:, :, :1], turned.to(x.dtype)], dim=2)


def _positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    side = round((table.shape[1] - 1) ** 0.5)
    image = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([table[:, :1], image.flatten(2).transpose(1, 2)], dim=1)


def _layer_norm(x: Tensor, state: State, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], EPSILON)


def _below(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
