"""BatchNorm, whose statistics are of the films that are on a device at once: what a CNN has instead of exactness."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm of a model that learns from batches; none in a ViT."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


def films_in_statistics(model: nn.Module, films_at_once: int, num_ranks: int) -> int | None:
    """Of how many films a model's statistics are, where a device holds `films_at_once`; None without BatchNorm."""
    norms = batch_norms(model)
    if not norms:
        return None
    return films_at_once * (num_ranks if isinstance(norms[0], nn.SyncBatchNorm) else 1)


def share_statistics(model: nn.Module) -> None:
    """Give every rank the running statistics of the first, which are those that checkpoints hold."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    for norm in batch_norms(model):
        for statistic in (norm.running_mean, norm.running_var):
            torch.distributed.broadcast(statistic, src=0)
