"""How well predicted tokens agree with targets, beside the best prediction that ignores the image."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from evax.losses.cosine import token_cosine


class Agreement:
    """Running sums over hidden tokens, in float64 on the CPU; exact under any batching and number of ranks."""

    def __init__(self, dim: int) -> None:
        self._sums = torch.zeros(dim + 3, dtype=torch.float64)  # mean unit target, cosine, loss, tokens

    def add(self, prediction: Float[Tensor, "M T"], target: Float[Tensor, "M T"], loss: Tensor) -> None:
        """Take in the hidden tokens of a batch and their mean loss."""
        unit_sum = F.normalize(target.double(), dim=-1).sum(0)
        cosine_sum = token_cosine(prediction, target).double().sum()
        count = torch.tensor(float(len(target)), dtype=torch.float64, device=target.device)
        rest = torch.stack([cosine_sum, loss.double() * count, count])
        self._sums += torch.cat([unit_sum, rest]).cpu()

    def sums(self, device: torch.device) -> Tensor:
        """All sums in one vector, to be added over ranks."""
        return self._sums.to(device) if device.type != "mps" else self._sums.float().to(device)

    @staticmethod
    def scores(sums: Tensor) -> dict[str, Tensor]:
        """Mean loss, mean cosine, that of the constant mean-token predictor, and the excess over it.

        The constant direction with the highest mean cosine is the mean unit target m, and its cosine is |m|.
        """
        unit_sum, (cosine, loss, count) = sums[:-3], sums[-3:]
        constant = (unit_sum / count).norm()
        return {
            "loss": loss / count,
            "cosine": cosine / count,
            "cosine_constant": constant,
            "cosine_excess": cosine / count - constant,
        }
