"""RandAugment (Cubuk et al. 2020) of grey films by timm, with its draws keyed by the sample."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image


class RandAugmentFilm:
    """timm's policy, such as "rand-m6-mstd0.5-inc1", for films (H, W) uint8.

    Two of fifteen operations a film, each with a probability of 0.5. Geometric ones are bicubic and fill with
    `fill`, a grey value in [0, 255]; EVA-X takes its mean, 125. timm draws from Python's and NumPy's global
    generators: for the length of a call they stand where the sample's own generator puts them.
    """

    def __init__(self, policy: str, fill: int = 125) -> None:
        if not policy.startswith("rand-"):
            raise ValueError(f"data.randaugment={policy} is no policy of timm's RandAugment; try rand-m6-mstd0.5-inc1")
        from timm.data.auto_augment import rand_augment_transform

        settings = {"translate_const": 100, "img_mean": (fill,) * 3, "interpolation": Image.Resampling.BICUBIC}
        try:
            self.transform: Any = rand_augment_transform(policy, settings)
        except (AssertionError, ValueError) as error:
            raise ValueError(f"data.randaugment={policy} cannot be read by timm: {error}") from error

    def __call__(self, image: UInt8[np.ndarray, "H W"], generator: np.random.Generator) -> UInt8[np.ndarray, "H W"]:
        """An augmented copy; the same generator gives the same film."""
        with keyed_global_draws(generator):
            film = self.transform(Image.fromarray(image).convert("RGB"))
        return np.asarray(film)[..., 0].copy()  # every operation treats the three equal channels alike


@contextmanager
def keyed_global_draws(generator: np.random.Generator) -> Iterator[None]:
    """Let Python's and NumPy's global generators be functions of `generator`, and put them back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    seed = int(generator.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
