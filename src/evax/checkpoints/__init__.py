"""Reading and writing weights and checkpoints; the only place with foreign tensor names."""

from evax.checkpoints.atomic import CheckpointWriteError
from evax.checkpoints.files import CheckpointReadError, newest_valid, read_checkpoint, write_checkpoint
from evax.checkpoints.weight_files import WeightsError, read_weights
from evax.checkpoints.weights import LoadReport, export_weights, load_weights

__all__ = [
    "CheckpointReadError",
    "CheckpointWriteError",
    "LoadReport",
    "WeightsError",
    "export_weights",
    "load_weights",
    "newest_valid",
    "read_checkpoint",
    "read_weights",
    "write_checkpoint",
]
