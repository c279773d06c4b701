"""In which precision a frozen network is computed."""

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether matrix units make bf16 faster: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether to compute in bf16; "auto" does where the device is faster so."""
    return precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
