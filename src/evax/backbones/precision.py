"""In which precision a network is computed for what is scored, thresholded, calibrated, written or shown."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import backends

DEVICES = ("cpu", "cuda", "mps")
# What may be computed in less than float32: convolutions of GPUs are, unless somebody says otherwise.
OPERATIONS: tuple[Any, ...] = (
    *(backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn),
    *(backends.mkldnn.matmul, backends.mkldnn.conv),
)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute in the precision of the weights: no autocast, no TF32; afterwards both are as they were.

    Also a decorator of functions. Weights of float64 stay float64.
    """
    with ExitStack() as stack:
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.callback(_restore, _switches())
        for operation in OPERATIONS:
            operation.fp32_precision = "ieee"
        yield


def _switches() -> tuple[tuple[str, bool] | None, list[str]]:
    """The switches of torch's older names, and those of each operation; the older are turned off here.

    torch raises where the two contradict each other, also in code of its own that only asks: so both are turned. It
    raises as well where the caller has let them contradict each other; then there is nothing to keep of the older.
    """
    each = [operation.fp32_precision for operation in OPERATIONS]
    try:
        older = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    except RuntimeError:
        return None, each
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    return older, each


def _restore(switches: tuple[tuple[str, bool] | None, list[str]]) -> None:
    older, each = switches
    if older is not None:
        torch.set_float32_matmul_precision(older[0])
        backends.cudnn.allow_tf32 = older[1]
    for operation, precision in zip(OPERATIONS, each, strict=True):
        operation.fp32_precision = precision
