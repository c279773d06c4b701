"""Masked image modelling: predict the frozen tokenizer's tokens of hidden patches (EVA-X paper, section 3.1)."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from evax.backbones.eva_x import SIZES, EvaX
from evax.backbones.foreign import Foreign
from evax.heads.token_prediction import TokenPredictionHead
from evax.losses.cosine import cosine_loss
from evax.losses.regression import squared_loss
from evax.optim.gradients import scale_gradient
from evax.optim.recipe import Recipe
from evax.tasks.agreement import Agreement
from evax.tasks.base import Task
from evax.tokenizers.base import Tokenizer

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": cosine_loss, "squared": squared_loss}


def require_mask_token(backbone: EvaX | Foreign) -> None:
    """Raise ValueError naming the key where patches of the backbone cannot be hidden."""
    if not hasattr(backbone, "forward_tokens"):
        raise ValueError(
            f"backbone: {type(backbone).__name__} has no mask token, which masked image modelling needs; "
            f"choose one of {', '.join(SIZES)}"
        )
    if getattr(backbone, "mask_token", None) is None:
        raise ValueError("backbone.mask_token=false: masked image modelling needs it; set backbone.mask_token=true")


class MaskedImageModeling(Task):
    """The student sees the masked film, the tokenizer the whole one; the loss reads hidden patches only.

    `loss` is "cosine" (EVA-02, EVA-X) or "squared" (MaskFeat, MAE), by default the one published with the
    tokenizer; `patch_embed_gradient` scales the gradient of
    the patch kernel (EVA-02: 0.1). Validation reports the cosine over hidden patches beside that of the best
    constant prediction, the mean unit target, and their difference: what the student read from the context.
    """

    monitors = ("val/loss", "val/cosine", "val/cosine_constant", "val/cosine_excess")

    def __init__(
        self,
        *,
        backbone: EvaX | Foreign,
        tokenizer: Tokenizer,
        optim: Recipe,
        seed: int,
        loss: Literal["cosine", "squared"] | None = None,
        patch_embed_gradient: float = 0.1,
    ) -> None:
        require_mask_token(backbone)
        super().__init__(backbone, optim, seed)
        loss = loss or tokenizer.loss
        if loss not in LOSSES:
            raise ValueError(f"model.loss={loss} is not known; choose {' or '.join(LOSSES)}")
        if self.backbone.patch_size != tokenizer.patch_size:
            raise ValueError(
                f"tokenizer.patch_size={tokenizer.patch_size} does not give the student's grid; "
                f"the backbone's patches have {self.backbone.patch_size} pixels"
            )
        self.loss = LOSSES[loss]
        self.head = TokenPredictionHead(self.backbone.embed_dim, tokenizer.dim)
        # Frozen for good: kept out of the module tree, so neither checkpoints nor DDP see it.
        self.__dict__["tokenizer"] = tokenizer.requires_grad_(False).eval()
        self._agreement = Agreement(tokenizer.dim)
        scale_gradient(self.backbone.patch_embed, patch_embed_gradient)

    def on_fit_start(self) -> None:
        """Bring the tokenizer to the student's device, and check that masks are drawn on the student's grid."""
        if self.data.image_size != self.data.grid[0] * self.backbone.patch_size:
            raise ValueError(
                f"data.patch_size gives a grid of {self.data.grid[0]} patches a side, the backbone's patches of "
                f"{self.backbone.patch_size} pixels another; make them equal"
            )
        self.tokenizer.to(self.device)

    on_validation_start = on_fit_start  # where a trainer only validates

    def predict(self, images: Float[Tensor, "B 3 H W"], is_masked: Bool[Tensor, "B N"]) -> Float[Tensor, "M T"]:
        """Predicted tokens of hidden patches, film after film, from unit images."""
        tokens = self.backbone.forward_tokens(self.student_input(images), is_masked)
        return self.head(tokens, is_masked)

    @torch.no_grad()
    def target(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N T"]:
        """The tokenizer's tokens of the whole films, from unit images."""
        return self.tokenizer(images)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss over the hidden patches of a micro-batch."""
        images, is_masked = self.unit_images(batch["image"]), batch["is_masked"]
        loss = self.loss(self.predict(images, is_masked), self.target(images)[is_masked])
        self.record_loss(loss)
        return loss

    def collect(self, batch: dict[str, Any]) -> None:
        """Collect agreement over hidden patches; masks are the same in every epoch."""
        images, is_masked = self.unit_images(batch["image"]), batch["is_masked"]
        prediction, target = self.predict(images, is_masked), self.target(images)[is_masked]
        self._agreement.add(prediction, target, self.loss(prediction, target))

    def on_validation_epoch_end(self) -> None:
        """Log the pooled agreement, equal on all ranks."""
        sums = self.trainer.strategy.reduce(self._agreement.sums(self.device), reduce_op="sum")
        self.record({f"val/{name}": value for name, value in self._agreement.scores(sums).items()})
        self._agreement = Agreement(self.tokenizer.dim)
