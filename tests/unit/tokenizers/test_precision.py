import inspect

import pytest
import torch

from evax.tokenizers import VitTokenizer, precision
from evax.tokenizers.learned import LearnedTokenizer

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("fast", [True, False])
def test_auto_follows_the_device(fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    assert precision.uses_bf16("auto", CPU) is fast
    assert precision.uses_bf16("auto", GPU) is fast


def test_a_named_precision_is_kept(monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: pytest.fail("asked"))
    assert precision.uses_bf16("bf16", CPU)
    assert not precision.uses_bf16("fp32", CPU)


def test_other_devices_stay_in_float32():
    assert not precision.uses_bf16("auto", torch.device("mps"))


def test_an_unknown_precision_lists_those_there_are():
    build = inspect.unwrap(LearnedTokenizer.__init__)  # without the tests' own check of types
    with pytest.raises(ValueError, match=r"^tokenizer\.precision=fp16 is not known; choose one of auto, fp32, bf16$"):
        build(VitTokenizer.__new__(VitTokenizer), torch.nn.Identity(), mean=[], std=[], patch_size=16, precision="fp16")
