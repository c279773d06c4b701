"""Segmentation of films: a backbone's inner maps, a decoder, and masks (EVA-X paper, section 4.3)."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor, nn

from evax.backbones.batch_norm import share_statistics
from evax.backbones.drop_path import GlobalDropout
from evax.backbones.inner_maps import Taps, freeze_unread, inner_maps, is_vit, places, widths
from evax.backbones.precision import full_precision
from evax.checkpoints.segmenters import SegmenterFacts
from evax.evaluation.segmentation import MIDDLE, dice, jaccard
from evax.evaluation.segmenting import fit_to, foreground
from evax.heads.pyramid import FeaturePyramid
from evax.heads.unet import CHANNELS, UNetHead
from evax.heads.upernet import UPerHead
from evax.losses.segmentation import bce_loss, ce_loss, dice_loss, jaccard_loss
from evax.optim.recipe import Recipe
from evax.tasks.base import Task, check_known
from evax.tasks.gathering import each_film_once

Decoder = Literal["upernet", "unet"]
Loss = Literal["bce", "ce", "dice", "jaccard"]
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": bce_loss,
    "ce": ce_loss,
    "dice": dice_loss,
    "jaccard": jaccard_loss,
}


# Shapes: K classes, C channels of logits: 1 where K is 1, else K + 1 with the background first
class Segmenter(Task):
    """UPerNet on a pyramid of a ViT's maps, or a U-Net on the stages of a CNN.

    `classes` are those of the data's masks, in their order. `taps` are the blocks that a ViT is read at: "last", its
    last block four times, or "four" inner blocks; always before the final norm. `loss` is "bce" of one class, "ce" of
    several, "dice" or "jaccard". `dropout` is of whole maps before the last convolution, `channels` the width of
    UPerNet, whose incoming maps are normalised with `norm_features`.
    Validation reports the loss of a film, and Dice and Jaccard of pixels pooled over all films at probability 0.5, the
    mean over the `val/num_classes` that can be scored.
    """

    monitors = ("val/loss", "val/dice", "val/jaccard")

    def __init__(
        self,
        *,
        backbone: nn.Module,
        classes: list[str],
        optim: Recipe,
        seed: int,
        decoder: Decoder = "upernet",
        taps: Taps = "last",
        loss: Loss = "bce",
        channels: int = 256,
        dropout: float = 0.1,
        norm_features: bool = False,
    ) -> None:
        super().__init__(backbone, optim, seed)
        check_known(decoder=(decoder, get_args(Decoder)), taps=(taps, get_args(Taps)), loss=(loss, LOSSES))
        check_loss(loss, classes)
        check_decoder(decoder, self.backbone)
        if not 0 <= dropout < 1:
            raise ValueError(f"model.dropout={dropout} must be in [0, 1)")
        self.classes, self.loss = list(classes), LOSSES[loss]
        self.facts = SegmenterFacts(tuple(classes), decoder, taps, channels, norm_features)
        self.places = places(self.backbone, taps)
        self.head = build_head(self.facts, self.backbone, dropout)
        freeze_unread(self.backbone)
        self._seen: list[tuple[Tensor, ...]] = []

    def on_fit_start(self) -> None:
        """Check that the data's classes are the head's."""
        self.check_classes(self.classes)
        self._check_statistics()
        self.tell_statistics()

    def _check_statistics(self) -> None:
        is_shared = any(isinstance(module, nn.SyncBatchNorm) for module in self.modules())
        if self.films_at_once == 1 and self.facts.decoder == "upernet" and not is_shared:
            raise ValueError(
                f"{self.trainer.world_size} devices have one film each at a time, and BatchNorm of UPerNet's pooled "
                "map needs two; raise batch_size or per_device_batch, or over GPUs use +trainer.sync_batchnorm=true"
            )

    def on_validation_epoch_start(self) -> None:
        """Let all ranks score with the same statistics."""
        share_statistics(self)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H W"]:
        """Logits of unit images, bilinear from the head's resolution, in float32 or better."""
        logits = self.head(inner_maps(self.backbone, self.student_input(images), self.places))
        precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return fit_to(precise, (images.shape[-2], images.shape[-1]))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss over the pixels of a micro-batch."""
        loss = self.loss(self(self.unit_images(batch["image"])), batch["mask"])
        self.record_loss(loss)
        return loss

    def collect(self, batch: dict[str, Any]) -> None:
        """Count the pixels of this rank's films, and take each film's loss."""
        logits, masks = self(self.unit_images(batch["image"])), batch["mask"]
        losses = torch.stack([self.loss(*film) for film in zip(logits.split(1), masks.split(1), strict=True)])
        counts = pixel_counts(self.probabilities(logits) > MIDDLE, masks)
        self._seen.append((torch.as_tensor(batch["row"]).cpu(), counts.cpu(), losses.double().cpu()))

    @full_precision()
    def logits(self, images: UInt8[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
        """Logits of stored films in float32, on this module's device, whatever the caller's autocast."""
        return self(self.unit_images(images.to(self.device))).float()

    @staticmethod
    def probabilities(logits: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        """Probabilities of the classes: a sigmoid of one, a softmax over several and the background."""
        return foreground(logits)

    def on_validation_epoch_end(self) -> None:
        """Score all ranks' films at once, each film once; equal on all ranks."""
        _, counts, losses = each_film_once(self._seen)
        self._seen = []
        pooled: Int64[np.ndarray, "K 4"] = counts.sum(0)
        scores = {"val/dice": mean_of_scored(dice(pooled)), "val/jaccard": mean_of_scored(jaccard(pooled))}
        num_classes = np.count_nonzero(~np.isnan(dice(pooled)))
        self.record({"val/loss": float(losses.mean()), "val/num_classes": num_classes} | scores)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the classes, the head's plan and what films look like beside the weights."""
        super().on_save_checkpoint(checkpoint)
        checkpoint |= self.facts.to_plain()
        checkpoint["preprocessing"] |= asdict(self.data.view)


def build_head(facts: SegmenterFacts, backbone: nn.Module, dropout: float = 0.0) -> nn.Module:
    """The decoder that `facts` describe, on the inner maps of a backbone."""
    at = widths(backbone, places(backbone, facts.taps))
    num_outputs = 1 if len(facts.classes) == 1 else len(facts.classes) + 1
    if facts.decoder == "unet":
        return UNetHead(at, num_outputs, dropout=GlobalDropout(dropout, CHANNELS))
    drop = GlobalDropout(dropout, facts.channels)
    upernet = UPerHead(at, num_outputs, channels=facts.channels, norm_features=facts.norm_features, dropout=drop)
    return nn.Sequential(OrderedDict(pyramid=FeaturePyramid(at[0]), upernet=upernet))


def pixel_counts(prediction: Bool[Tensor, "B K H W"], mask: UInt8[Tensor, "B 1 H W"]) -> Int64[Tensor, "B K 4"]:
    """TP, FP, FN and TN in pixels of every film and class; `mask` has k + 1 for the k-th class."""
    values = torch.arange(1, prediction.shape[1] + 1, dtype=torch.uint8, device=mask.device)
    truth = mask == values[:, None, None]  # (B, K, H, W)
    kinds = (prediction & truth, prediction & ~truth, ~prediction & truth, ~prediction & ~truth)
    return torch.stack([kind.sum((-2, -1)) for kind in kinds], dim=-1)


def mean_of_scored(scores: Float64[np.ndarray, "K"]) -> float:
    """The mean over classes that are anywhere in truth or prediction; NaN where there is none."""
    is_scored = ~np.isnan(scores)
    return float(scores[is_scored].mean()) if is_scored.any() else float("nan")


def check_loss(loss: Loss, classes: list[str]) -> None:
    """Refuse a cross-entropy of another number of classes."""
    if (loss == "bce") != (len(classes) == 1) and loss in ("bce", "ce"):
        names = ", ".join(classes)
        raise ValueError(
            f"model.loss={loss}: bce is of one class, ce of several, and data.masks has {len(classes)}: {names}; use "
            f"{'bce' if loss == 'ce' else 'ce'}, or dice or jaccard"
        )


def check_decoder(decoder: Decoder, backbone: nn.Module) -> None:
    """Refuse a decoder that cannot read a backbone."""
    if (decoder == "upernet") != is_vit(backbone):
        kind = "a ViT, whose maps have one stride; use upernet" if is_vit(backbone) else "a CNN of stages; use unet"
        raise ValueError(f"model.decoder={decoder}: this backbone is {kind}")
