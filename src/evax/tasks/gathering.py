"""What a validation saw, brought together over batches and ranks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def each_film_once(parts: Sequence[tuple[Tensor, ...]]) -> tuple[np.ndarray, ...]:
    """Rows of the pack (B,) and values (B, ...) of this rank's batches of all ranks, each film once, by row."""
    seen = tuple(torch.cat(each).cpu().numpy() for each in zip(*parts, strict=True))
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        shares: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, seen)
        seen = tuple(np.concatenate(each) for each in zip(*shares, strict=True))
    _, first = np.unique(seen[0], return_index=True)
    return tuple(each[first] for each in seen)
