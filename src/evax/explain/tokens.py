"""Patch tokens as pictures."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from sklearn.decomposition import PCA
from torch import Tensor

from evax.explain.explainable import Explainable


def pca_maps(tokens: Float[np.ndarray, "B N D"], grid: tuple[int, int]) -> Float[np.ndarray, "B R C 3"]:
    """First three principal components of the tokens of all films together, as colours in [0, 1].

    Components are scaled between their 1st and 99th percentile, so that colours mean the same on every film; one that
    so few tokens do not have is 0.
    """
    num_films, num_tokens, width = tokens.shape
    flat = tokens.reshape(num_films * num_tokens, width).astype(np.float64)
    components, count = np.zeros((len(flat), 3)), min(3, len(flat) - 1, width)
    if count:
        components[:, :count] = PCA(n_components=count, random_state=0).fit_transform(flat)
    low, high = np.percentile(components, [1, 99], axis=0)
    colours = np.clip((components - low) / np.maximum(high - low, 1e-12), 0, 1)
    return colours.reshape(num_films, *grid, 3)


@torch.no_grad()
def pca_colours(
    explainable: Explainable, batches: Iterable[Float[Tensor, "_ 3 H W"]]
) -> Float[np.ndarray, "films R C 3"]:
    """Colours of the last patch tokens of films of one size, over all batches together; no class is needed."""
    tokens, grid = [], (0, 0)
    with explainable.evaluating():
        for images in batches:
            tokens.append(explainable.tokens(images).float().cpu().numpy())
            grid = explainable.grid(images)
    return pca_maps(np.concatenate(tokens), grid)
