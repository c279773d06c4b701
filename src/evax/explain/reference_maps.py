"""Maps that look at no model: what a method must beat."""

import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

from evax.explain.explainable import Explainable

SPREAD = 0.25  # standard deviation of the centre prior, as a share of the side


def random_map(
    explainable: Explainable, images: Float[Tensor, "B 3 H W"], classes: Int[Tensor, "B"] | None = None
) -> Float[Tensor, "B R C"]:
    """Even noise in [0, 1] on the model's grid, a function of the film's pixels alone."""
    rows, columns = explainable.grid(images)
    noise = [torch.rand(rows, columns, generator=torch.Generator().manual_seed(_key(image))) for image in images]
    return torch.stack(noise).to(images.device)


def centre_prior(
    explainable: Explainable, images: Float[Tensor, "B 3 H W"], classes: Int[Tensor, "B"] | None = None
) -> Float[Tensor, "B R C"]:
    """A Gaussian at the film's centre, the same on every film; `SPREAD` is its standard deviation."""
    bells = []
    for cells in explainable.grid(images):
        place = (torch.arange(cells, device=images.device) + 0.5) / cells - 0.5
        bells.append(torch.exp(-0.5 * (place / SPREAD) ** 2))
    return torch.outer(*bells).expand(len(images), -1, -1)


def _key(image: Tensor) -> int:
    values = image.detach().cpu().float().contiguous().numpy()
    return int.from_bytes(hashlib.sha256(values.tobytes()).digest()[:7])
