"""Geometric augmentation of grey films, drawn from a generator per sample (albumentations behind one interface)."""

import random
from dataclasses import dataclass

import albumentations as A
import cv2
import numpy as np
from jaxtyping import UInt8

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


class RandomCropFlip:
    """Film (H, W) uint8 and a generator -> crop (size, size) uint8; the same generator gives the same crop."""

    def __init__(self, size: int, crop: Crop) -> None:
        self.transform = A.Compose(
            [
                A.HorizontalFlip(p=crop.flip),
                A.RandomResizedCrop(
                    size=(size, size),
                    scale=(crop.min_area, crop.max_area),
                    ratio=(crop.min_ratio, crop.max_ratio),
                    interpolation=INTERPOLATION[crop.interpolation],
                ),
            ]
        )

    def __call__(self, image: UInt8[np.ndarray, "H W"], generator: np.random.Generator) -> UInt8[np.ndarray, "S S"]:
        """Crop one film. `A.Compose(seed=...)` is never used: it gives every transform the same stream."""
        self.transform.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        return self.transform(image=image)["image"]


def resize(image: UInt8[np.ndarray, "H W"], size: int) -> UInt8[np.ndarray, "S S"]:
    """The whole film at (size, size), as evaluation sees it: area averaging down, bilinear up."""
    if image.shape == (size, size):
        return image
    shrinks = size < min(image.shape)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
