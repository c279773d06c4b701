"""AdamW with warm-up and cosine decay, stated in epochs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW

from evax.optim.groups import parameter_groups
from evax.optim.schedule import WarmupCosine


@dataclass(frozen=True)
class AdamWCosine:
    """The optimizer of EVA-02 and EVA-X (recipes: EVA-02 appendix; EVA-X paper, implementation details).

    `lr` is the peak rate, used as it is unless `lr_per` says of how many films: then it is lr * batch_size / lr_per
    (Goyal et al. 2017), and `final_lr` follows. The rate rises linearly from 0 over `warmup_epochs` and falls per step
    to `final_lr`; where that equals `lr` it stays, the fixed rate of EVA-X's fine-tuning. Weight decay is constant.
    `layer_decay` scales the rate of every layer below the head.
    """

    lr: float = 3e-4
    final_lr: float = 1e-5
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    betas: Sequence[float] = (0.9, 0.98)
    eps: float = 1e-6
    layer_decay: float = 1.0
    lr_per: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"optim.layer_decay={self.layer_decay} must be in (0, 1]")
        if self.lr_per is not None and (self.lr_per < 1 or self.batch_size is None):
            raise ValueError(f"optim.lr_per={self.lr_per} must be a number of films, with optim.batch_size beside it")
        if not 0 <= self.final_lr <= self.lr:
            raise ValueError(f"optim.final_lr={self.final_lr} must be between 0 and optim.lr={self.lr}")

    @property
    def scale(self) -> float:
        """What the batch makes of the stated rates."""
        return 1.0 if self.lr_per is None or self.batch_size is None else self.batch_size / self.lr_per

    def build(self, model: nn.Module) -> AdamW:
        """AdamW over the model's trainable parameters; rates are set per step from `schedule`."""
        groups = parameter_groups(model, self.weight_decay, self.layer_decay)
        return AdamW(groups, lr=self.lr * self.scale, betas=(self.betas[0], self.betas[1]), eps=self.eps, fused=True)

    def schedule(self, steps_per_epoch: int, epochs: int) -> WarmupCosine:
        """Rate as a pure function of the optimizer step. Warm-up must be shorter than training."""
        if self.warmup_epochs >= epochs:
            raise ValueError(f"optim.warmup_epochs={self.warmup_epochs} must be less than trainer.max_epochs={epochs}")
        return WarmupCosine(
            peak=self.lr * self.scale,
            warmup_steps=round(self.warmup_epochs * steps_per_epoch),
            total_steps=epochs * steps_per_epoch,
            final=self.final_lr * self.scale,
        )
