"""What watches a task or keeps its run directory; may read a task, never the reverse."""

from evax.callbacks.average import AveragedWeights
from evax.callbacks.checkpointing import AtomicCheckpointIO, Checkpointing
from evax.callbacks.feature_probe import FeatureProbe
from evax.callbacks.hosted import wandb_logger
from evax.callbacks.metrics_csv import MetricsCsv
from evax.callbacks.non_finite import NonFiniteGuard
from evax.callbacks.pictures import Pictures
from evax.callbacks.preemption import Preempted, Preemption
from evax.callbacks.progress import Progress
from evax.callbacks.tensorboard import TensorBoard

__all__ = [
    "AtomicCheckpointIO",
    "AveragedWeights",
    "Checkpointing",
    "FeatureProbe",
    "MetricsCsv",
    "NonFiniteGuard",
    "Pictures",
    "Preempted",
    "Preemption",
    "Progress",
    "TensorBoard",
    "wandb_logger",
]
