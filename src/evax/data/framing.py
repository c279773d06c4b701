"""From a film of any shape to the pack's square frame: pixels, masks and boxes by the same rule."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from evax.data.film import Box, Pixels

Fit = Literal["stretch", "pad", "crop"]


class Frame(NamedTuple):
    """Where the resized film lies in a square of `size` pixels; a cropped film has a negative offset."""

    size: int
    width: int
    height: int
    left: int
    top: int


def frame_film(width: int, height: int, size: int, fit: Fit) -> Frame:
    """Place a film of width x height pixels: stretched, or padded or centre-cropped with its aspect kept."""
    if fit == "stretch":
        return Frame(size, size, size, 0, 0)
    side = max(width, height) if fit == "pad" else min(width, height)
    new_width, new_height = round(width * size / side), round(height * size / side)
    return Frame(size, new_width, new_height, (size - new_width) // 2, (size - new_height) // 2)


def fit_pixels(pixels: Pixels, frame: Frame) -> Pixels:
    """Image by bilinear, masks by nearest-neighbour interpolation; padding is 0."""
    return Pixels(
        _place(pixels.image, frame, cv2.INTER_LINEAR),
        {name: _place(mask, frame, cv2.INTER_NEAREST_EXACT) for name, mask in pixels.masks.items()},
    )


def fit_boxes(boxes: Iterable[Box], frame: Frame) -> tuple[Box, ...]:
    """Boxes in unit coordinates of the frame, cut at its border; a box that is cropped away is dropped."""
    fitted = (_fit_box(box, frame) for box in boxes)
    return tuple(box for box in fitted if box.width > 0 and box.height > 0)


def _place(image: UInt8[np.ndarray, "H W"], frame: Frame, interpolation: int) -> UInt8[np.ndarray, "S S"]:
    if image.shape != (frame.height, frame.width):
        image = cv2.resize(image, (frame.width, frame.height), interpolation=interpolation).astype(np.uint8)
    image = image[max(0, -frame.top) :, max(0, -frame.left) :][: frame.size, : frame.size]
    if image.shape == (frame.size, frame.size):
        return np.ascontiguousarray(image)
    canvas = np.zeros((frame.size, frame.size), np.uint8)
    top, left = max(0, frame.top), max(0, frame.left)
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


def _fit_box(box: Box, frame: Frame) -> Box:
    left, right = _fit_range(box.x, box.width, frame.width, frame.left, frame.size)
    top, bottom = _fit_range(box.y, box.height, frame.height, frame.top, frame.size)
    return Box(box.finding, left, top, right - left, bottom - top)


def _fit_range(start: float, length: float, scale: int, offset: int, size: int) -> tuple[float, float]:
    """Ends of a unit range of the film, in units of the frame."""
    ends = (start, start + length)
    low, high = (min(max((end * scale + offset) / size, 0.0), 1.0) for end in ends)
    return low, high
