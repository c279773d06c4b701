"""Reading and writing weights and checkpoints; the only place with foreign tensor names.

Names are imported on first use, so that `python -m evax.checkpoints --help` needs no torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "CheckpointReadError": "files",
    "CheckpointWriteError": "atomic",
    "LoadReport": "weights",
    "WeightsError": "errors",
    "export_weights": "weights",
    "load_weights": "weights",
    "newest_valid": "files",
    "read_checkpoint": "files",
    "read_weights": "weight_files",
    "write_checkpoint": "files",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'evax.checkpoints' has no attribute '{name}'; it offers {', '.join(_HOME)}")
    return getattr(import_module(f"evax.checkpoints.{_HOME[name]}"), name)
