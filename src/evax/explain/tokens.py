"""Patch tokens as pictures."""

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA


def pca_maps(tokens: Float[np.ndarray, "B N D"], grid: tuple[int, int]) -> Float[np.ndarray, "B R C 3"]:
    """First three principal components of the tokens of all films together, as colours in [0, 1].

    Components are scaled between their 1st and 99th percentile, so that colours mean the same on every film.
    """
    num_films, num_tokens, width = tokens.shape
    flat = tokens.reshape(num_films * num_tokens, width).astype(np.float64)
    components = PCA(n_components=3, random_state=0).fit_transform(flat)
    low, high = np.percentile(components, [1, 99], axis=0)
    colours = np.clip((components - low) / np.maximum(high - low, 1e-12), 0, 1)
    return colours.reshape(num_films, *grid, 3)
