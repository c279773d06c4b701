import sys
from importlib.machinery import ModuleSpec
from inspect import unwrap
from types import ModuleType

import pytest
import torch
from timm.layers import RotaryEmbeddingCat, apply_rot_embed_cat
from tiny import SUB_LN, tiny_backbone

from evax.backbones.attention import AttentionError, rotary_table, rotate, use_attention


def tokens_of(backbone):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return backbone.forward_tokens(images)


def distance(a, b) -> float:
    return (a - b).abs().max().item()


class PlainXformers(ModuleType):
    """xformers' attention written out: batch, token, head, dimension."""

    def __init__(self) -> None:
        super().__init__("xformers.ops")
        self.shapes = []

    def memory_efficient_attention(self, query, key, value, p=0.0, scale=None):
        self.shapes.append((tuple(query.shape), p))
        weights = torch.einsum("bqhd,bkhd->bhqk", query * scale, key).softmax(-1)
        return torch.einsum("bhqk,bkhd->bqhd", weights, value)


@pytest.fixture
def xformers(monkeypatch):
    """A stand-in for the package, on a machine that claims CUDA."""
    package, ops = ModuleType("xformers"), PlainXformers()
    package.__spec__ = ModuleSpec("xformers", None)
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return ops


@pytest.mark.parametrize("settings", [{}, SUB_LN])
def test_eager_equals_sdpa(settings):
    backbone = tiny_backbone(attention="sdpa", **settings).eval()
    fused = tokens_of(backbone)
    use_attention(backbone, "eager")
    assert distance(tokens_of(backbone), fused) < 1e-5


def test_rotation_equals_timms():
    torch.manual_seed(0)
    rope = RotaryEmbeddingCat(16, in_pixels=False, feat_shape=[4, 4]).get_embed()
    tokens = torch.randn(2, 17, 3, 16)
    theirs = apply_rot_embed_cat(tokens[:, 1:].transpose(1, 2), rope).transpose(1, 2)
    ours = rotate(tokens, rotary_table(rope, num_prefix_tokens=1))
    assert torch.equal(ours, torch.cat([tokens[:, :1], theirs], dim=1))


def test_rotation_keeps_the_dtype_and_turns_in_fp32():
    torch.manual_seed(0)
    table = torch.randn(5, 4, 2)
    tokens = torch.randn(2, 5, 3, 8).bfloat16()
    assert torch.equal(rotate(tokens, table), rotate(tokens.float(), table).bfloat16())


def test_compiled_rotation_equals_the_plain(monkeypatch):
    torch.manual_seed(0)
    tokens, table = torch.randn(2, 5, 3, 8), torch.randn(5, 4, 2)
    plain = rotate(tokens, table)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert distance(rotate(tokens, table), plain) < 1e-6


@pytest.mark.parametrize("kernel", ["auto", "sdpa"])
def test_bf16_training_agrees_with_fp32(kernel):
    backbone = tiny_backbone(attention=kernel)
    exact = tokens_of(backbone)
    with torch.autocast("cpu", torch.bfloat16):
        assert distance(tokens_of(backbone), exact) < 0.05


@pytest.mark.parametrize("settings", [{}, SUB_LN])
def test_xformers_equals_sdpa(xformers, settings):
    backbone = tiny_backbone(**settings).eval()
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()  # they start at 0, where a lost one would not show
    fused = tokens_of(backbone)
    use_attention(backbone, "xformers")
    assert distance(tokens_of(backbone), fused) < 1e-5
    assert xformers.shapes == [((2, 17, 2, 16), 0.0)] * 2


def test_the_comparison_notices_a_missing_rotation(xformers, monkeypatch):
    backbone = tiny_backbone().eval()
    fused = tokens_of(backbone)
    use_attention(backbone, "xformers")
    monkeypatch.setattr("evax.backbones.attention.rotate", lambda tokens, table: tokens)
    assert distance(tokens_of(backbone), fused) > 1e-4


def test_switching_back_restores_the_fused_kernel(xformers):
    backbone = tiny_backbone(attention="xformers").eval()
    use_attention(backbone, "auto")
    tokens_of(backbone)
    assert xformers.shapes == []


def test_masks_are_refused():
    attention = tiny_backbone().blocks[0].attn
    with pytest.raises(AttentionError, match="takes no attention mask"):
        attention(torch.zeros(1, 17, 32), attn_mask=torch.ones(17, 17, dtype=torch.bool))


def test_xformers_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("evax.backbones.attention.find_spec", lambda name: None)
    with pytest.raises(AttentionError, match=r"pip install -e '\.\[xformers\]'"):
        tiny_backbone(attention="xformers")


def test_xformers_without_cuda_names_the_alternative(xformers, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AttentionError, match=r"no CUDA device.*attention=sdpa"):
        tiny_backbone(attention="xformers")


def test_an_unknown_kernel_lists_the_known():
    with pytest.raises(AttentionError, match="attention=flash is not one of auto, sdpa, eager, xformers"):
        unwrap(use_attention)(tiny_backbone(), "flash")  # the type checker of the test run would refuse it first
