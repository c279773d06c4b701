"""What a network is shown of a film of any shape: in use as it was in training."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from evax.data.film import Pixels
from evax.data.framing import Fit, fit_pixels, frame_film
from evax.data.transforms import middle_of, resize


@dataclass(frozen=True)
class FilmView:
    """The steps from a film (H, W) to a square of `image_size` pixels, all uint8.

    `frame` is the side of the squares in the pack that a classifier was trained on: films are brought there first by
    `fit`, as `prepare.py` does it, and then shown whole or, with `resize_to`, the middle of a film of that size.
    Without a frame it is what EVA-X's code does: the short side goes to `resize_to` or `image_size`, and the middle is
    seen.
    """

    image_size: int
    resize_to: int | None = None
    frame: int | None = None
    fit: Fit = "stretch"

    def __call__(self, film: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "S S"]:
        """What the network sees of one film."""
        if self.frame is None:
            return centre(with_short_side(film, self.resize_to or self.image_size), self.image_size)
        height, width = film.shape
        square = fit_pixels(Pixels(film, {}), frame_film(width, height, self.frame, self.fit)).image
        if self.resize_to is None:
            return resize(square, self.image_size)
        return middle_of(resize(square, self.resize_to), self.image_size)

    def at(self, image_size: int) -> "FilmView":
        """The same part of a film at another size."""
        resize_to = self.resize_to and round(self.resize_to * image_size / self.image_size)
        return FilmView(image_size, resize_to, self.frame, self.fit)


def with_short_side(film: UInt8[np.ndarray, "H W"], pixels: int) -> UInt8[np.ndarray, "H2 W2"]:
    """A film whose shorter side has this many pixels, bicubic: torchvision's `Resize` of a Pillow image."""
    sides = [int(pixels * side / min(film.shape)) for side in film.shape]
    return np.array(Image.fromarray(film).resize((sides[1], sides[0]), Image.Resampling.BICUBIC))


def centre(film: UInt8[np.ndarray, "H W"], size: int) -> UInt8[np.ndarray, "S S"]:
    """The middle square; halves of a pixel go to the even one, as in torchvision's `CenterCrop`."""
    top, left = (round((side - size) / 2) for side in film.shape)
    return film[top : top + size, left : left + size]
