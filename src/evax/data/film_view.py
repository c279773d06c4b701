"""What a network is shown of a film of any shape: in use as it was in training."""

from dataclasses import dataclass
from typing import NamedTuple, cast, get_args

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from evax.data.film import Pixels
from evax.data.framing import Fit, fit_pixels, frame_film
from evax.data.manifest import Manifest
from evax.data.transforms import middle_of, resize


class Extent(NamedTuple):
    """A rectangle in pixels of a film; its ends may lie between pixels, and outside the film."""

    left: float
    top: float
    width: float
    height: float


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

    def extent(self, height: int, width: int) -> Extent:
        """Which part of a film of this size the network's square shows, padding included."""
        if self.frame is None:
            rows, columns = short_side_sizes((height, width), self.resize_to or self.image_size)
            left, top = (round((side - self.image_size) / 2) for side in (columns, rows))
            return _part(Extent(0, 0, width, height), left / columns, top / rows, self.image_size, (columns, rows))
        frame = frame_film(width, height, self.frame, self.fit)
        film = Extent(0, 0, width, height)
        square = _part(
            film, -frame.left / frame.width, -frame.top / frame.height, frame.size, (frame.width, frame.height)
        )
        if self.resize_to is None:
            return square
        edge = (self.resize_to - self.image_size) // 2 / self.resize_to
        return _part(square, edge, edge, self.image_size, (self.resize_to, self.resize_to))

    def at(self, image_size: int) -> "FilmView":
        """The same part of a film at another size."""
        resize_to = self.resize_to and round(self.resize_to * image_size / self.image_size)
        return FilmView(image_size, resize_to, self.frame, self.fit)


def view_of(manifest: Manifest, image_size: int, resize_to: int | None) -> FilmView:
    """How a film that is in no pack comes to look as those of a pack do, whose frames may differ in a union."""
    fit = cast("Fit", manifest.fit if manifest.fit in get_args(Fit) else "stretch")
    return FilmView(image_size, resize_to, frame=manifest.size, fit=fit)


def check_grey(film: Shaped[np.ndarray, "..."]) -> None:
    """Refuse what is no grey film of 0 black to 255 white."""
    if film.ndim != 2 or film.dtype != np.uint8:
        raise ValueError(f"a film is (H, W) of uint8, not {film.shape} of {film.dtype}; evax.read_grey reads files")


def with_short_side(film: UInt8[np.ndarray, "H W"], pixels: int) -> UInt8[np.ndarray, "H2 W2"]:
    """A film whose shorter side has this many pixels, bicubic: torchvision's `Resize` of a Pillow image."""
    rows, columns = short_side_sizes((film.shape[0], film.shape[1]), pixels)
    return np.array(Image.fromarray(film).resize((columns, rows), Image.Resampling.BICUBIC))


def short_side_sizes(shape: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Rows and columns of a film whose shorter side has this many."""
    rows, columns = (int(pixels * side / min(shape)) for side in shape)
    return rows, columns


def centre(film: UInt8[np.ndarray, "H W"], size: int) -> UInt8[np.ndarray, "S S"]:
    """The middle square; halves of a pixel go to the even one, as in torchvision's `CenterCrop`."""
    top, left = (round((side - size) / 2) for side in film.shape)
    return film[top : top + size, left : left + size]


def _part(of: Extent, left: float, top: float, side: int, sizes: tuple[int, int]) -> Extent:
    """A square of `side` pixels in an extent of `sizes` pixels (columns, rows), from shares of its sides on."""
    return Extent(
        of.left + left * of.width,
        of.top + top * of.height,
        of.width * side / sizes[0],
        of.height * side / sizes[1],
    )
