"""Classification of films: a backbone, a head, and labels that may be unknown (EVA-X paper, section 4.2)."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from torch import Tensor, nn

from evax.backbones.batch_norm import share_statistics
from evax.backbones.drop_path import GlobalDropout
from evax.backbones.lora import LoRA, add_lora
from evax.backbones.precision import full_precision
from evax.checkpoints.classifiers import classifier_facts
from evax.evaluation.auroc import auroc_per_class, macro
from evax.evaluation.temperature import class_logits
from evax.heads.classifier import AttentiveClassifier, LinearClassifier
from evax.losses.classification import binary_loss, exclusive_loss
from evax.optim.gradients import scale_gradient
from evax.optim.recipe import Recipe
from evax.tasks.base import Task, check_known
from evax.tasks.gathering import each_film_once

Loss = Literal["binary", "exclusive"]
LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"binary": binary_loss, "exclusive": exclusive_loss}


class Predictions(NamedTuple):
    """Logits of films, one row each, ascending by row of the pack."""

    rows: Int64[np.ndarray, "N"]
    logits: Float32[np.ndarray, "N C"]


class Classifier(Task):
    """Mean of patch tokens, `fc_norm`, one linear layer; or an attentive head on a frozen backbone.

    `classes` are the findings in the order of the data's targets. `loss` is "binary", every finding by itself, or
    "exclusive", exactly one class a film. `head` is "linear" or "attentive"; `freeze` trains the head alone, or, with
    `lora`, the head and low-rank adapters of the frozen backbone.
    `fc_norm` "fresh" starts the last LayerNorm at (1, 0), as the published fine-tuning does; "weights" keeps what was
    loaded, the `norm` of pre-training. `dropout` is of the features that the linear head reads.
    `patch_embed_gradient` scales the gradient of a ViT's patch embedding; 0 leaves it as it was loaded.
    Validation reports the loss and the macro AUROC over the `val/num_findings` that can be scored.
    """

    monitors = ("val/loss", "val/auroc_macro")

    def __init__(
        self,
        *,
        backbone: nn.Module,
        classes: list[str],
        optim: Recipe,
        seed: int,
        loss: Loss = "binary",
        head: Literal["linear", "attentive"] = "linear",
        freeze: bool = False,
        fc_norm: Literal["fresh", "weights"] = "fresh",
        num_heads: int = 8,
        dropout: float = 0.0,
        patch_embed_gradient: float = 1.0,
        lora: LoRA | None = None,
    ) -> None:
        super().__init__(backbone, optim, seed)
        check_known(loss=(loss, LOSSES), head=(head, ("linear", "attentive")), fc_norm=(fc_norm, ("fresh", "weights")))
        if head == "attentive" and not hasattr(backbone, "forward_tokens"):
            raise ValueError("model.head=attentive reads patch tokens, which this backbone does not give; use linear")
        if not 0 <= dropout < 1 or (dropout and head == "attentive"):
            raise ValueError(f"model.dropout={dropout} must be in [0, 1), and is of model.head=linear")
        if patch_embed_gradient != 1 and not hasattr(backbone, "patch_embed"):
            raise ValueError("model.patch_embed_gradient is for ViTs: this backbone has none; set it to 1")
        if lora is not None and not freeze:
            raise ValueError("model.lora adapts a frozen backbone; set model.freeze=true, or use adapt=lora")
        self.classes, self.loss, self.is_frozen = list(classes), LOSSES[loss], freeze and lora is None
        width = self.backbone.num_features
        self.head: LinearClassifier | AttentiveClassifier = (
            LinearClassifier(width, len(classes))
            if head == "linear"
            else AttentiveClassifier(width, len(classes), num_heads=num_heads)
        )
        self.dropout = GlobalDropout(dropout, width)
        if fc_norm == "fresh" and not freeze and isinstance(getattr(backbone, "fc_norm", None), nn.LayerNorm):
            nn.init.ones_(self.backbone.fc_norm.weight)
            nn.init.zeros_(self.backbone.fc_norm.bias)
        self.backbone.requires_grad_(not freeze)
        if not freeze and patch_embed_gradient != 1:
            scale_gradient(self.backbone.patch_embed, patch_embed_gradient)
        if lora is not None:
            add_lora(self.backbone, lora)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_fit_start(self) -> None:
        """Check that the data's classes are the head's."""
        self.check_classes(self.classes)
        if not self.is_frozen:
            self.tell_statistics()

    def on_validation_epoch_start(self) -> None:
        """Let all ranks score with the same statistics."""
        share_statistics(self.backbone)

    def on_train_start(self) -> None:
        """A frozen backbone is left in evaluation mode: it drops nothing, and BatchNorm keeps its statistics.

        A resume inside an epoch has no start of that epoch, only one of training.
        """
        if self.is_frozen:
            self.backbone.eval()

    on_train_epoch_start = on_train_start

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C"]:
        """Logits of unit images."""
        images = self.student_input(images)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            features = self.backbone.forward_tokens(images) if self.head.reads_tokens else self.backbone(images)
        return self.head(features if self.head.reads_tokens else self.dropout(features))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss over the known labels of a micro-batch."""
        logits = self(self.unit_images(batch["image"]))
        loss = self.loss(logits, batch["target"], batch["is_known"])
        self.record_loss(loss)
        return loss

    def collect(self, batch: dict[str, Any]) -> None:
        """Collect the logits of this rank's films."""
        self._seen.append((torch.as_tensor(batch["row"]), self.logits(batch["image"])))

    @full_precision()
    def logits(self, images: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B C"]:
        """Logits of stored films in float32, on the CPU, whatever the caller's autocast."""
        return self(self.unit_images(images)).float().cpu()

    def on_validation_epoch_end(self) -> None:
        """Score all ranks' films at once, each film once; equal on all ranks."""
        predictions = gathered(self._seen)
        self._seen = []
        targets = self.data.targets_of(predictions.rows)
        with torch.no_grad():
            loss = self.loss(*(torch.as_tensor(each) for each in (predictions.logits, *targets)))
        scored = macro(auroc_per_class(self.scores(predictions.logits), *targets))
        self.record({"val/loss": loss, "val/auroc_macro": scored.value, "val/num_findings": scored.num_defined})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the classes and what films look like to them beside the weights, for `evax.load_classifier`."""
        super().on_save_checkpoint(checkpoint)
        num_heads = self.head.pool.num_heads if isinstance(self.head, AttentiveClassifier) else None
        checkpoint |= classifier_facts(tuple(self.classes), "exclusive" if self.is_exclusive else "binary", num_heads)
        checkpoint["preprocessing"] |= asdict(self.data.view)

    @property
    def is_exclusive(self) -> bool:
        """Whether a film has exactly one of the classes."""
        return self.loss is exclusive_loss

    def scores(self, logits: Float32[np.ndarray, "N C"]) -> Float64[np.ndarray, "N C"]:
        """What ranks films: the log-odds of each class, which do not tie where probabilities are 1."""
        return class_logits(logits, exclusive=self.is_exclusive)


def gathered(parts: list[tuple[Tensor, Tensor]]) -> Predictions:
    """Rows and logits of every rank, each row once, ascending."""
    rows, logits = each_film_once(parts)
    return Predictions(rows.astype(np.int64), logits.astype(np.float32))
