"""Low-rank adapters of attention (LoRA, Hu et al. 2021): what a frozen backbone is allowed to learn."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

PROJECTIONS = ("qkv", "q_proj", "k_proj", "v_proj", "proj")  # of timm's attentions, fused or split


@dataclass(frozen=True)
class LoRA:
    """Adapters of `rank` on every projection of attention, weighted by alpha / rank."""

    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(f"model.lora.rank={self.rank} and alpha={self.alpha} must be above 0")


class LoRAUpdate(nn.Module):
    """A weight plus `scale * up @ down`; `up` starts at 0, so that nothing changes before the first step."""

    scale: Tensor

    def __init__(self, weight: Float[Tensor, "out in"], lora: LoRA) -> None:
        super().__init__()
        width_out, width_in = weight.shape
        self.down = nn.Parameter(weight.new_empty(lora.rank, width_in))
        self.up = nn.Parameter(weight.new_zeros(width_out, lora.rank))
        self.register_buffer("scale", weight.new_tensor(lora.alpha / lora.rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as the authors' code

    def forward(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """The adapted weight."""
        return weight + self.scale * (self.up @ self.down)


def adapted(model: nn.Module) -> list[nn.Linear]:
    """The projections of every attention in a model."""
    attentions = [module for name, module in model.named_modules() if name.rpartition(".")[2] == "attn"]
    found = (getattr(attention, name, None) for attention in attentions for name in PROJECTIONS)
    return [linear for linear in found if isinstance(linear, nn.Linear)]


def add_lora(model: nn.Module, lora: LoRA) -> None:
    """Freeze a model and give its attention trainable adapters, in place; ValueError where it has no attention."""
    projections = adapted(model)
    if not projections:
        raise ValueError("model.lora adapts attention, which this backbone does not have; use adapt=linear or full")
    model.requires_grad_(False)
    for linear in projections:
        register_parametrization(linear, "weight", LoRAUpdate(linear.weight, lora))
