"""What tokenizers with weights share: the search for their file, normalisation and precision."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evax.data.pixels import normalise
from evax.tokenizers.base import Tokenizer
from evax.tokenizers.precision import Precision, uses_bf16


class LearnedTokenizer(Tokenizer):
    """A frozen network as tokenizer; `encode` says which of its tokens are the targets.

    `mean` and `std` normalise unit images for the network. It computes in `precision`, but in float64 where the
    images are float64. bf16 rounds its weights for good at the first batch: autocast alone, which would round them
    at every batch and keep the stream between blocks in float32, takes a fifth longer.
    """

    loss = "cosine"
    network: Any

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        patch_size: int,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        check_choice("precision", precision, get_args(Precision))
        self.network = network.requires_grad_(False)
        self.mean, self.std = mean, std
        self.patch_size = patch_size
        self.precision = precision
        self.eval()

    def render(self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int]) -> Float[Tensor, "B 3 H2 W2"]:
        """Unit images at the size that the network reads where the student has `grid`."""
        return images

    @abstractmethod
    def encode(self, images: Float[Tensor, "B 3 H W"], grid: tuple[int, int]) -> Float[Tensor, "B N T"]:
        """The network's tokens of rendered and normalised images, on the student's `grid`."""

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N T"]:
        """Target tokens in float32, patches in row order; the caller's autocast changes nothing."""
        grid, device = self.grid(images), images.device
        precise = torch.promote_types(images.dtype, torch.float32)
        is_bf16 = precise == torch.float32 and uses_bf16(self.precision, device)
        cast_parameters(self.network, torch.bfloat16 if is_bf16 else precise)
        with torch.autocast(device.type, enabled=False):
            images = normalise(self.render(images.to(precise), grid), self.mean, self.std)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_bf16):
            return self.encode(images, grid).float()


def cast_parameters(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert what was learned, in place; buffers such as rotary tables stay precise."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)


def check_choice(key: str, value: str, choices: Sequence[str]) -> None:
    """ValueError naming the key where `value` is none of `choices`."""
    if value not in choices:
        raise ValueError(f"tokenizer.{key}={value} is not known; choose one of {', '.join(choices)}")
