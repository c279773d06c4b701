import sys
from importlib.machinery import ModuleSpec
from inspect import unwrap
from types import ModuleType

import pytest
import torch
from tiny import SUB_LN, tiny_backbone

from evax.backbones.attention import AttentionError, XformersEvaAttention, use_attention


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
    assert not any(block.attn.fused_attn for block in backbone.blocks)
    assert distance(tokens_of(backbone), fused) < 1e-5


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
    monkeypatch.setattr(XformersEvaAttention, "_rotate", lambda self, tokens, rope: tokens)
    assert distance(tokens_of(backbone), fused) > 1e-4


def test_switching_back_restores_the_fused_kernel(xformers):
    backbone = tiny_backbone(attention="xformers").eval()
    use_attention(backbone, "auto")
    tokens_of(backbone)
    assert (xformers.shapes, backbone.blocks[0].attn.fused_attn) == ([], True)


def test_xformers_takes_no_mask(xformers):
    attention = tiny_backbone(attention="xformers").blocks[0].attn
    with pytest.raises(AttentionError, match="attention=sdpa"):
        attention(torch.zeros(1, 17, 32), attn_mask=torch.ones(17, 17, dtype=torch.bool))


def test_xformers_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("evax.backbones.attention.find_spec", lambda name: None)
    with pytest.raises(AttentionError, match=r"pip install 'evax\[xformers\]'"):
        tiny_backbone(attention="xformers")


def test_xformers_without_cuda_names_the_alternative(xformers, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AttentionError, match=r"no CUDA device.*attention=sdpa"):
        tiny_backbone(attention="xformers")


def test_an_unknown_kernel_lists_the_known():
    with pytest.raises(AttentionError, match="attention=flash is not one of auto, sdpa, eager, xformers"):
        unwrap(use_attention)(tiny_backbone(), "flash")  # the type checker of the test run would refuse it first
