"""Augmentation of films with their masks and boxes: one geometry for all three, exposure for the film alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from evax.data.film import Box
from evax.data.transforms import INTERPOLATION, Crop, Window, draw_window, resize


class Pair(NamedTuple):
    """A film (H, W), 0 black to 255 white, its classes (H, W), and its boxes in unit coordinates."""

    image: UInt8[np.ndarray, "H W"]
    mask: UInt8[np.ndarray, "H W"]
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Photometric:
    """The photometric distortion of mmsegmentation, as EVA-X trains segmentation, on grey films.

    Brightness is moved by up to `brightness` grey levels and contrast multiplied by a factor from `min_contrast` to
    `max_contrast`, each with `probability`. Saturation and hue, which mmsegmentation changes too, do nothing to grey.
    """

    brightness: float = 32.0
    min_contrast: float = 0.5
    max_contrast: float = 1.5
    probability: float = 0.5

    def __post_init__(self) -> None:
        if self.brightness < 0 or not 0 < self.min_contrast <= self.max_contrast:
            raise ValueError(
                f"data.photometric: brightness={self.brightness} must be at least 0, and min_contrast="
                f"{self.min_contrast} and max_contrast={self.max_contrast} must satisfy 0 < min <= max"
            )

    def __call__(self, image: UInt8[np.ndarray, "H W"], generator: np.random.Generator) -> UInt8[np.ndarray, "H W"]:
        """The film in another exposure; each step is cut to 0..255."""
        is_shifted, is_scaled = generator.random(2) < self.probability
        shift = generator.uniform(-self.brightness, self.brightness) if is_shifted else 0.0
        factor = generator.uniform(self.min_contrast, self.max_contrast) if is_scaled else 1.0
        shifted = np.clip(np.arange(256) + shift, 0, 255).astype(np.uint8)
        return cv2.LUT(image, np.clip(shifted * factor, 0, 255).astype(np.uint8))


class PairedAugment:
    """A crop and flip of film, mask and boxes, then the film's exposure; the same generator gives the same sample."""

    def __init__(self, size: int, crop: Crop, photometric: Photometric | None = None) -> None:
        self.size, self.crop, self.photometric = size, crop, photometric

    def __call__(self, pair: Pair, generator: np.random.Generator) -> Pair:
        """One film (H, W) with its mask and boxes at (size, size); boxes that are cropped away are dropped."""
        is_flipped = bool(generator.random() < self.crop.flip)
        window = draw_window(pair.image.shape, self.crop, generator)
        image = self._sized(pair.image, window)
        mask = resize_mask(_cut(pair.mask, window), self.size)
        boxes = _cut_boxes(pair.boxes, pair.image.shape, window)
        if is_flipped:
            image, mask, boxes = cv2.flip(image, 1), cv2.flip(mask, 1), _mirrored(boxes)
        if self.photometric is not None:
            image = self.photometric(image, generator)
        return Pair(image, mask, boxes)

    def _sized(self, image: UInt8[np.ndarray, "H W"], window: Window) -> UInt8[np.ndarray, "S S"]:
        """A whole film as evaluation sees it, a part of one by the crop's interpolation."""
        part = _cut(image, window)
        if part.shape == image.shape:
            return resize(image, self.size)
        return cv2.resize(part, (self.size, self.size), interpolation=INTERPOLATION[self.crop.interpolation])


def resize_mask(mask: UInt8[np.ndarray, "H W"], size: int) -> UInt8[np.ndarray, "S S"]:
    """A mask at (size, size): each pixel is that of the mask nearest to its centre."""
    if mask.shape == (size, size):
        return mask
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)


def _cut(image: UInt8[np.ndarray, "H W"], window: Window) -> UInt8[np.ndarray, "h w"]:
    return image[window.top : window.top + window.height, window.left : window.left + window.width]


def _cut_boxes(boxes: Iterable[Box], shape: tuple[int, int], window: Window) -> tuple[Box, ...]:
    """Boxes of a film of (height, width) in unit coordinates of a window, as far as they are in it."""
    cut = []
    for box in boxes:
        left, width = _cut_range(box.x, box.width, shape[1], window.left, window.width)
        top, height = _cut_range(box.y, box.height, shape[0], window.top, window.height)
        if width > 0 and height > 0:
            cut.append(Box(box.finding, left, top, width, height))
    return tuple(cut)


def _cut_range(start: float, length: float, scale: int, offset: int, extent: int) -> tuple[float, float]:
    """Start and length of a unit range of a film's side, in units of a part of that side."""
    low, high = (min(max((end * scale - offset) / extent, 0.0), 1.0) for end in (start, start + length))
    return low, high - low


def _mirrored(boxes: Iterable[Box]) -> tuple[Box, ...]:
    return tuple(box._replace(x=1 - box.x - box.width) for box in boxes)
