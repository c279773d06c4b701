"""What frozen features are worth while pre-training runs: linear probe, nearest neighbours, and rank."""

import logging
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from lightning.pytorch import Callback, LightningModule, Trainer

from evax.backbones.precision import full_precision
from evax.callbacks.cadence import EveryFewEpochs
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.labels import resolve_labels
from evax.data.module import PackDataModule
from evax.evaluation.auroc import auroc_per_class, macro
from evax.evaluation.features import extract_features, pooled
from evax.evaluation.knn import knn_scores
from evax.evaluation.probe import LinearProbe
from evax.evaluation.rank import rankme
from evax.progress import Step, tracked
from evax.tasks.mim import MaskedImageModeling

log = logging.getLogger(__name__)

RANK_FILMS, TOKENS_PER_FILM = 256, 8


def some(rows: Int[np.ndarray, "N"], most: int, seed: int) -> Int[np.ndarray, "M"]:
    """All rows, or a fixed random sample of `most`, ascending: the first ones of a pack are often of one kind."""
    if len(rows) <= most:
        return rows
    return np.sort(keyed_generator(seed, Stream.MONITOR).choice(rows, most, replace=False))


class FeatureProbe(Callback):
    """Fits on the pack's `train` films, scores its `val` films, every `every_n_epochs` and before the first step.

    Records `val/linear_auroc`, `val/knn_auroc` (macro over the `val/num_findings` that can be scored),
    `val/feature_rank` and `val/target_rank` (RankMe of a fixed sample of patch tokens). At most `max_films` of each
    split are read, a random sample that never changes within a run; never test films.
    """

    monitors = ("val/linear_auroc", "val/knn_auroc", "val/feature_rank", "val/target_rank")

    def __init__(
        self,
        *,
        every_n_epochs: int = 5,
        max_films: int = 2000,
        strength: float = 0.01,
        num_neighbors: int = 20,
    ) -> None:
        self.cadence = EveryFewEpochs(every_n_epochs, "callbacks.feature_probe.every_n_epochs")
        self.max_films, self.strength, self.num_neighbors = max_films, strength, num_neighbors

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The random initialisation is the floor of every curve. ValueError for what is no pre-training."""
        if not isinstance(pl_module, MaskedImageModeling):
            raise ValueError(
                "callbacks.feature_probe is of pre-training; use callbacks=classification, segmentation, or either _ema"
            )
        if trainer.global_step == 0:
            log.info("scoring the features of the untrained backbone, to compare with; then the first step")
            self._record(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probe after every k-th epoch, and after the last."""
        if self.cadence.is_due(trainer):
            self._record(trainer, pl_module)

    def _record(self, trainer: Trainer, task: LightningModule) -> None:
        scores: dict[str, float] = {}
        if trainer.is_global_zero:
            was_training = task.training
            task.eval()
            scores = self._scores(trainer.datamodule, task)
            task.train(was_training)
        scores = trainer.strategy.broadcast(scores)
        assert isinstance(task, MaskedImageModeling)
        task.record({f"val/{name}": value for name, value in scores.items()})

    def _scores(self, data: PackDataModule, task: Any) -> dict[str, float]:
        train = self._features(data, task, some(data.rows("train"), self.max_films, data.seed))
        val = self._features(data, task, some(data.rows("val"), self.max_films, data.seed))
        targets, is_known = resolve_labels(data.pack.labels, data.pack.findings)
        bank, queries = (
            (train[0], targets[train[1]], is_known[train[1]]),
            (val[0], targets[val[1]], is_known[val[1]]),
        )
        neighbors = min(self.num_neighbors, len(train[0]))
        with Step("feature probe: linear probe", 1, bar=False) as step:
            linear = LinearProbe(self.strength).fit(*bank, data.pack.findings, step.alive).scores(queries[0])
        nearest = knn_scores(bank[0], bank[1], queries[0], bank[2], num_neighbors=neighbors)
        ranks = self._ranks(data, task, some(data.rows("val"), RANK_FILMS, data.seed))
        scored, voted = (macro(auroc_per_class(scores, *queries[1:])) for scores in (linear, nearest))
        aurocs = {"linear_auroc": scored.value, "knn_auroc": voted.value, "num_findings": float(scored.num_defined)}
        return aurocs | ranks

    def _features(
        self, data: PackDataModule, task: Any, rows: Int[np.ndarray, "N"]
    ) -> tuple[Float32[np.ndarray, "N D"], Int[np.ndarray, "N"]]:
        dataset = data.dataset(rows, mask=False)
        batches = data.local_loader(dataset)
        features = extract_features(
            pooled(task.backbone),
            batches,
            task.device,
            task.dtype,
            num_images=len(rows),
            title="feature probe: features",
            bar=False,
        )
        return features.values, features.rows

    @torch.inference_mode()
    @full_precision()
    def _ranks(self, data: PackDataModule, task: Any, rows: Int[np.ndarray, "N"]) -> dict[str, float]:
        """RankMe over the same few patches of every film, for the student's tokens and the targets."""
        chosen = np.linspace(0, data.grid[0] * data.grid[1] - 1, TOKENS_PER_FILM).round().astype(int)
        sampled: dict[str, list[Float[np.ndarray, "K D"]]] = {"feature_rank": [], "target_rank": []}
        batches = data.local_loader(data.dataset(rows, mask=False))
        for batch in tracked(batches, "feature probe: patch tokens", len(batches), bar=False):
            images = task.unit_images(batch["image"].to(task.device))
            tokens = {
                "feature_rank": task.backbone.forward_tokens(task.student_input(images)),
                "target_rank": task.target(images),
            }
            for name, values in tokens.items():
                sampled[name].append(values[:, chosen].flatten(0, 1).float().cpu().numpy())
        return {name: rankme(np.concatenate(values)) for name, values in sampled.items()}
