"""Geometric augmentation of grey films, drawn from a generator per sample."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

Augment = Callable[[UInt8[np.ndarray, "H W"], np.random.Generator], UInt8[np.ndarray, "S S"]]

TRIES = 10  # shapes drawn before the largest one in the middle is taken
INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


@dataclass(frozen=True)
class Crop:
    """Random resized crop and flip (EVA-X paper: area (0.2, 1), ratio (3/4, 4/3), horizontal flip).

    Areas are shares of the film's area; `flip` is a probability.
    """

    min_area: float = 0.2
    max_area: float = 1.0
    min_ratio: float = 3 / 4
    max_ratio: float = 4 / 3
    flip: float = 0.5
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= self.max_area <= 1:
            raise ValueError(
                f"data.crop.min_area={self.min_area} and max_area={self.max_area} must satisfy 0 < min <= max <= 1"
            )
        if self.interpolation not in INTERPOLATION:
            raise ValueError(f"data.crop.interpolation={self.interpolation} is not one of {', '.join(INTERPOLATION)}")


class Window(NamedTuple):
    """A part of a film, in pixels from its top left corner."""

    top: int
    left: int
    height: int
    width: int


def draw_window(shape: tuple[int, int], crop: Crop, generator: np.random.Generator) -> Window:
    """A window of a film of (height, width): area uniform, ratio (width over height) log-uniform, place uniform.

    Shapes that do not fit are drawn again. Draw for draw the `RandomResizedCrop` of albumentations, whose own
    overhead takes as long as cutting and resizing a film (docs/decisions.md).
    """
    height, width = shape
    low, high = math.log(crop.min_ratio), math.log(crop.max_ratio)
    for _ in range(TRIES):
        area_unit, ratio_unit = generator.random(2).tolist()
        area = (crop.min_area + (crop.max_area - crop.min_area) * area_unit) * height * width
        ratio = math.exp(low + (high - low) * ratio_unit)
        columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            top_unit, left_unit = generator.random(2).tolist()
            return Window(int((height - rows + 1) * top_unit), int((width - columns + 1) * left_unit), rows, columns)
    return middle_window(shape, crop)


def middle_window(shape: tuple[int, int], crop: Crop) -> Window:
    """The largest window in the middle whose ratio the crop allows."""
    height, width = shape
    columns, rows = min(width, round(height * crop.max_ratio)), min(height, round(width / crop.min_ratio))
    return Window((height - rows) // 2, (width - columns) // 2, rows, columns)


class RandomCropFlip:
    """Film (H, W) uint8 and a generator -> crop (size, size) uint8; the same generator gives the same crop."""

    def __init__(self, size: int, crop: Crop) -> None:
        self.size, self.crop = size, crop

    def __call__(self, image: UInt8[np.ndarray, "H W"], generator: np.random.Generator) -> UInt8[np.ndarray, "S S"]:
        """Crop one film. The window is drawn for the film as it is then seen, mirrored or not."""
        is_flipped = generator.random() < self.crop.flip
        top, left, height, width = draw_window(image.shape, self.crop, generator)
        first = image.shape[1] - left - width if is_flipped else left
        window = image[top : top + height, first : first + width]
        if is_flipped:
            window = cv2.flip(window, 1)
        return cv2.resize(window, (self.size, self.size), interpolation=INTERPOLATION[self.crop.interpolation])


class InTurn:
    """Augmentations one after the other, drawn from one generator."""

    def __init__(self, *augments: Augment) -> None:
        self.augments = augments

    def __call__(self, image: UInt8[np.ndarray, "H W"], generator: np.random.Generator) -> UInt8[np.ndarray, "S S"]:
        """The film after all of them."""
        for augment in self.augments:
            image = augment(image, generator)
        return image


def resize(image: UInt8[np.ndarray, "H W"], size: int) -> UInt8[np.ndarray, "S S"]:
    """The whole film at (size, size), as evaluation sees it: area averaging down, bilinear up."""
    if image.shape == (size, size):
        return image
    shrinks = size < min(image.shape)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def middle_of(image: UInt8[np.ndarray, "H W"], size: int) -> UInt8[np.ndarray, "S S"]:
    """The square of `size` pixels in the middle."""
    top, left = ((side - size) // 2 for side in image.shape)
    return image[top : top + size, left : left + size]
