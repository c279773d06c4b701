"""AdamW or SGD with a warm-up and a decay of the rate, stated in epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn
from torch.optim import SGD, AdamW

from evax.optim.groups import parameter_groups
from evax.optim.schedule import WarmupCosine, WarmupPolynomial


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
        check_layer_decay(self.layer_decay)
        if self.lr_per is not None and (self.lr_per < 1 or self.batch_size is None):
            raise ValueError(f"optim.lr_per={self.lr_per} must be a number of films, with optim.batch_size beside it")
        check_final(self.final_lr, self.lr)

    @property
    def scale(self) -> float:
        """What the batch makes of the stated rates."""
        return 1.0 if self.lr_per is None or self.batch_size is None else self.batch_size / self.lr_per

    def build(self, model: nn.Module) -> AdamW:
        """AdamW over the model's trainable parameters; rates are set per step from `schedule`."""
        return adamw(self, model, self.lr * self.scale)

    def schedule(self, steps_per_epoch: int, epochs: int) -> WarmupCosine:
        """Rate as a pure function of the optimizer step. Warm-up must be shorter than training."""
        check_warm_up(self.warmup_epochs, epochs)
        return WarmupCosine(
            peak=self.lr * self.scale,
            warmup_steps=round(self.warmup_epochs * steps_per_epoch),
            total_steps=epochs * steps_per_epoch,
            final=self.final_lr * self.scale,
        )


@dataclass(frozen=True)
class Polynomial:
    """The schedule of EVA-X's segmentation (published code, mmsegmentation's `poly`), of any optimizer.

    `lr` is the peak rate, never scaled. It falls as (1 - share of epochs) ** `power` to `final_lr`, in a step at the
    end of every epoch, and is multiplied by a linear rise from `warmup_ratio` to 1 over the first `warmup_epochs` and
    `warmup_steps` more. Weight decay is constant; `layer_decay` scales the rate of every layer below the head.
    """

    lr: float
    weight_decay: float
    final_lr: float = 0.0
    power: float = 1.0
    warmup_epochs: float = 0.0
    warmup_steps: int = 10
    warmup_ratio: float = 1e-6
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        check_layer_decay(self.layer_decay)
        check_final(self.final_lr, self.lr)

    def schedule(self, steps_per_epoch: int, epochs: int) -> WarmupPolynomial:
        """Rate as a pure function of the optimizer step. A run may be shorter than the steps of its warm-up."""
        check_warm_up(self.warmup_epochs, epochs)
        return WarmupPolynomial(
            peak=self.lr,
            warmup_steps=round(self.warmup_epochs * steps_per_epoch) + self.warmup_steps,
            warmup_ratio=self.warmup_ratio,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            final=self.final_lr,
            power=self.power,
        )


@dataclass(frozen=True)
class AdamWPolynomial(Polynomial):
    """The optimizer of EVA-X's segmentation."""

    lr: float = 6e-5
    weight_decay: float = 0.05
    betas: Sequence[float] = (0.9, 0.999)
    eps: float = 1e-8

    def build(self, model: nn.Module) -> AdamW:
        """AdamW over the model's trainable parameters; rates are set per step from `schedule`."""
        return adamw(self, model, self.lr)


@dataclass(frozen=True)
class SGDPolynomial(Polynomial):
    """SGD of the EVA-X paper's ResNets in segmentation; its momentum, not told, is mmsegmentation's default."""

    lr: float = 0.01
    weight_decay: float = 5e-4
    momentum: float = 0.9

    def build(self, model: nn.Module) -> SGD:
        """SGD over the model's trainable parameters; rates are set per step from `schedule`."""
        groups = parameter_groups(model, self.weight_decay, self.layer_decay)
        return SGD(groups, lr=self.lr, momentum=self.momentum, fused=True)


Recipe: TypeAlias = AdamWCosine | AdamWPolynomial | SGDPolynomial
Schedule: TypeAlias = WarmupCosine | WarmupPolynomial


def adamw(recipe: AdamWCosine | AdamWPolynomial, model: nn.Module, lr: float) -> AdamW:
    """AdamW with a recipe's settings over the model's trainable parameters."""
    groups = parameter_groups(model, recipe.weight_decay, recipe.layer_decay)
    return AdamW(groups, lr=lr, betas=(recipe.betas[0], recipe.betas[1]), eps=recipe.eps, fused=True)


def check_layer_decay(layer_decay: float) -> None:
    """Refuse what would let lower layers learn faster, or nothing learn."""
    if not 0 < layer_decay <= 1:
        raise ValueError(f"optim.layer_decay={layer_decay} must be in (0, 1]")


def check_final(final_lr: float, lr: float) -> None:
    """Refuse a rate that ends above its peak."""
    if not 0 <= final_lr <= lr:
        raise ValueError(f"optim.final_lr={final_lr} must be between 0 and optim.lr={lr}")


def check_warm_up(warmup_epochs: float, epochs: int) -> None:
    """Refuse a warm-up that is as long as training."""
    if warmup_epochs >= epochs:
        raise ValueError(f"optim.warmup_epochs={warmup_epochs} must be less than trainer.max_epochs={epochs}")
