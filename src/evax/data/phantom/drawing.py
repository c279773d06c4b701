"""Drawing primitives in unit coordinates: splines, tubes and filled shapes on a canvas of any size."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8

SUBPIXEL_BITS = 4
SAMPLES_PER_SEGMENT = 4


@lru_cache(maxsize=64)
def spline_weights(controls: int, closed: bool) -> Float[np.ndarray, "m n"]:
    """Matrix that turns `controls` control points into points of their uniform Catmull-Rom spline."""
    segments = controls if closed else controls - 1
    t = np.arange(SAMPLES_PER_SEGMENT)[:, None] / SAMPLES_PER_SEGMENT
    basis = 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    weights = np.zeros((segments * SAMPLES_PER_SEGMENT, controls))
    for segment in range(segments):
        rows = weights[segment * SAMPLES_PER_SEGMENT :][:SAMPLES_PER_SEGMENT]
        for column, offset in enumerate((-1, 0, 1, 2)):
            point = segment + offset
            rows[:, point % controls if closed else min(max(point, 0), controls - 1)] += basis[:, column]
    if not closed:
        weights = np.vstack([weights, np.eye(controls)[-1:]])
    return weights


def smooth(controls: Float[np.ndarray, "*k n 2"], closed: bool = True) -> Float[np.ndarray, "*k m 2"]:
    """The Catmull-Rom curves through control points."""
    return spline_weights(controls.shape[-2], closed) @ controls


def tubes(curves: Float[np.ndarray, "k m 2"], widths: Float[np.ndarray, "#k #m"]) -> Float[np.ndarray, "k m2 2"]:
    """Outlines of curves drawn with a width (same unit as the points) at every point."""
    tangents = np.empty_like(curves)
    tangents[:, 1:-1] = curves[:, 2:] - curves[:, :-2]
    tangents[:, 0] = curves[:, 1] - curves[:, 0]
    tangents[:, -1] = curves[:, -1] - curves[:, -2]
    lengths = np.sqrt((tangents**2).sum(-1)) + 1e-9
    normals = np.stack([-tangents[..., 1], tangents[..., 0]], -1) * (0.5 * widths / lengths)[..., None]
    return np.concatenate([curves + normals, (curves - normals)[:, ::-1]], axis=1)


def fixed_point(points: Float[np.ndarray, "*k 2"], size: int) -> Shaped[np.ndarray, "*k 2"]:
    """Unit coordinates as OpenCV's fixed-point pixel coordinates; pixel i spans i/size to (i+1)/size."""
    return np.rint((points * size - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def fill(
    canvas: Shaped[np.ndarray, "S S"],
    shapes: Sequence[Float[np.ndarray, "_ 2"]] | Float[np.ndarray, "k m 2"],
    value: float,
    sharp: bool = False,
) -> None:
    """Fill closed shapes that do not overlap, given in unit coordinates; `sharp` means no anti-aliasing."""
    size = len(canvas)
    if isinstance(shapes, np.ndarray):
        contours = list(fixed_point(shapes, size))
    else:
        contours = [fixed_point(shape, size) for shape in shapes]
    cv2.fillPoly(canvas, contours, value, cv2.LINE_8 if sharp else cv2.LINE_AA, SUBPIXEL_BITS)


def strokes(canvas: UInt8[np.ndarray, "S S"], curves: Float[np.ndarray, "k m 2"], value: float, width: float) -> None:
    """Draw open curves of one width in unit coordinates; what rounding adds to the width, the value loses."""
    pixels = width * len(canvas)
    thickness = max(1, round(pixels))
    lines = list(fixed_point(curves, len(canvas)))
    cv2.polylines(canvas, lines, False, value * pixels / thickness, thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_tubes(
    canvas: UInt8[np.ndarray, "S S"],
    curves: Float[np.ndarray, "k m 2"],
    widths: Float[np.ndarray, "#k #m"],
    value: float,
) -> None:
    """Draw tubes, later ones over earlier ones; anti-aliasing alone makes a shape a pixel wider."""
    size = len(canvas)
    for contour in fixed_point(tubes(curves, np.maximum(widths - 1 / size, 0.0)), size):
        cv2.fillPoly(canvas, [contour], value, cv2.LINE_AA, SUBPIXEL_BITS)


def ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Float[np.ndarray, "m 2"]:
    """Outline of an ellipse; `angle` in radians turns the x axis towards the y axis."""
    circle = unit_circle() * np.array([rx, ry])
    return circle @ rotation(angle) + np.array([x, y])


@lru_cache(maxsize=1)
def unit_circle() -> Float[np.ndarray, "m 2"]:
    """Points of the unit circle."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], -1)


@lru_cache(maxsize=64)
def rotation(angle: float) -> Float[np.ndarray, "2 2"]:
    """Matrix R such that `points @ R` turns row points from the x axis towards the y axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s], [-s, c]])
