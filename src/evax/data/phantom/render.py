"""From plan to film: layers of tissue, bone and vessels, added as an X-ray adds them, then exposed."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from evax.data.film import Pixels
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.phantom import anatomy as shapes
from evax.data.phantom.drawing import draw_tubes, ellipse, fill, strokes, tubes
from evax.data.phantom.findings import add_lesions, lesion_bits, lung_mask
from evax.data.phantom.plan import GRAIN, LESIONS, VESSELS, Exposure, FilmPlan
from evax.data.phantom.vessels import vessels

Plane = Float32[np.ndarray, "S S"]

TEXT = "PHANTOM"
TEXT_CORNER = 0.015  # left and top margin, in unit coordinates
TEXT_WIDTH = 0.27
COARSE = 4  # soft shapes are drawn on a grid this much coarser


def render(plan: FilmPlan, size: int, contrast: float = 1.0) -> Pixels:
    """The film of a plan with its masks, (size, size) each; `contrast` multiplies the density of lesions.

    `lungs`: 0 background, 1 right, 2 left; `lesions`: bit k is set where FINDINGS[k] is.
    """
    rng = keyed_generator(plan.seed, Stream.PHANTOM, epoch=GRAIN, index=plan.number)
    lungs = lung_mask(plan, size)
    air = outlined(list(plan.lungs()), size)
    tissue = soft_tissue(plan, size, rng)
    tissue -= air * (0.22 + 0.14 * blurred(air, 0.05))
    tissue += skeleton(plan, size) * (0.45 + 0.55 * air)
    vascular = vessel_layer(plan, size) * air
    add_lesions(
        plan,
        tissue,
        vascular,
        air,
        keyed_generator(plan.seed, Stream.PHANTOM, epoch=LESIONS, index=plan.number),
        contrast,
    )
    tissue += vascular
    image = expose(tissue, plan.exposure, rng)
    return Pixels(cv2.max(image, stamp(size)), {"lungs": lungs, "lesions": lesion_bits(plan, lungs)})


def soft_tissue(plan: FilmPlan, size: int, rng: np.random.Generator) -> Plane:
    """Density of the body without lungs and bones, about 0 (air) to 1."""
    body, place = plan.anatomy, plan.pose.place
    coarse = -(-size // COARSE)
    canvas = np.zeros((coarse, coarse), np.float32)
    trunk = place(shapes.body_outline(body))
    add_glow(canvas, [trunk], 0.50, 0.05)
    add_glow(canvas, [place(ellipse(0.0, 0.55, 0.10, 0.7))], 0.10, 0.05)
    add_glow(canvas, [place(ellipse(0.0, 1.05, 0.36, 0.26))], 0.12, 0.05)
    add_glow(canvas, [place(ellipse(side * 0.075, 0.44, 0.035, 0.06)) for side in (-1.1, 1.1)], 0.08, 0.02)
    add_glow(canvas, [place(ellipse(0.09, 0.62, 0.10, 0.10))], 0.06, 0.04)
    bubble_y = 0.80 + rng.uniform(-0.02, 0.02)
    add_glow(canvas, [place(ellipse(0.19, bubble_y, 0.065, 0.03))], -0.13 * rng.random(), 0.012)
    for tube in airway():
        add_glow(canvas, [place(tube)], -0.09, 0.010)
    if body.breast:
        discs = [place(ellipse(side * 0.22, 0.60, 0.16, 0.14)) for side in (-1, 1)]
        add_glow(canvas, discs, 0.08 * body.breast, 0.012)
    canvas += cloud(coarse, 6, 0.018, rng) + cloud(coarse, 14, 0.010, rng)
    silhouette = outlined([trunk], size)
    organs = [shapes.heart_outline(body, plan.magnification), shapes.abdomen_outline(body)]
    smooth_part = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_LINEAR)
    return (smooth_part + 0.20 * outlined([place(organ) for organ in organs], size)) * silhouette


def outlined(shapes_on_film: list[np.ndarray], size: int) -> Plane:
    """1 inside any of the shapes, 0 outside, with a border as soft as a film's."""
    canvas = np.zeros((size, size), np.uint8)
    for shape in shapes_on_film:
        fill(canvas, [shape], 255.0)
    return cv2.GaussianBlur(canvas.astype(np.float32) * np.float32(1 / 255), (0, 0), 0.005 * size)


@lru_cache(maxsize=1)
def airway() -> list[np.ndarray]:
    """Trachea and main bronchi in the patient frame."""
    lines = np.array([[(0.0, -0.05), (0.0, 0.15), (0.004, 0.33)]])
    forks = np.array([[(0.004, 0.32), (-0.03, 0.365), (-0.06, 0.40)], [(0.004, 0.32), (0.04, 0.37), (0.085, 0.40)]])
    return [*tubes(lines, np.full((1, 1), 0.036)), *tubes(forks, np.full((1, 1), 0.022))]


def add_glow(canvas: Plane, outlines: list[np.ndarray], value: float, softness: float) -> None:
    """Add shapes with a soft border (in unit coordinates) to a canvas."""
    layer = np.zeros_like(canvas)
    fill(layer, outlines, value, sharp=True)
    canvas += cv2.GaussianBlur(layer, (0, 0), softness * len(canvas))


def cloud(size: int, cells: int, strength: float, rng: np.random.Generator) -> Plane:
    """Smooth random density with `cells` cells across."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32) * np.float32(strength)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def blurred(plane: Plane, softness: float) -> Plane:
    """A plane blurred by a length in unit coordinates, computed on a coarse grid."""
    size = len(plane)
    small = cv2.resize(plane, None, fx=1 / COARSE, fy=1 / COARSE, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), softness * len(small))
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)


def skeleton(plan: FilmPlan, size: int) -> Plane:
    """Density of ribs, clavicles, shoulder blades and spine."""
    body, place = plan.anatomy, plan.pose.place
    back = np.zeros((size, size), np.uint8)
    front = np.zeros_like(back)
    fill(back, [place(shape) for shape in shapes.shoulder_blades(body)], 70.0)
    fill(back, place(shapes.vertebrae()), 60.0)
    posterior, anterior = (place(curves) for curves in shapes.ribs(body))
    clavicles = place(shapes.clavicles(body))
    for share, marrow in ((1.0, 1.0), (0.62, 0.66)):
        draw_tubes(back, posterior, np.full((1, 1), 0.0225 * share), 125 * marrow)
        draw_tubes(front, anterior, np.full((1, 1), 0.0245 * share), 69 * marrow)
        draw_tubes(front, clavicles, np.full((1, 1), 0.0240 * share), 150 * marrow)
    bones = cv2.add(back, front, dtype=cv2.CV_32F) * np.float32(0.32 * body.bone / 255)
    return cv2.GaussianBlur(bones, (0, 0), 0.003 * size)


def vessel_layer(plan: FilmPlan, size: int) -> Plane:
    """Density of the lungs' vessels, the same tree on every film of a patient."""
    trunks, limbs, twigs = vessel_tree(plan.seed, plan.patient, plan.anatomy)
    canvas = np.zeros((size, size), np.uint8)
    strokes(canvas, plan.pose.place(twigs[0]), 150.0, 0.0028)
    strokes(canvas, plan.pose.place(limbs[0]), 160.0, 0.0045)
    draw_tubes(canvas, plan.pose.place(trunks[0]), trunks[1], 190.0)
    return cv2.GaussianBlur(canvas * np.float32(0.14 / 255), (0, 0), 0.0022 * size)


@lru_cache(maxsize=8)
def vessel_tree(seed: int, patient: int, anatomy: shapes.Anatomy) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vessels of a patient in the patient frame, coarse to fine: centre lines and widths."""
    return vessels(anatomy, keyed_generator(seed, Stream.PHANTOM, epoch=VESSELS, index=patient))


def expose(tissue: Plane, exposure: Exposure, rng: np.random.Generator) -> UInt8[np.ndarray, "S S"]:
    """Display values of a density: beam tilt, tone curve, noise."""
    size = len(tissue)
    t = np.minimum(np.maximum(tissue, 0.0), 1.1)
    shown = t * (1 + exposure.bend - exposure.bend * t)
    shown *= exposure.gain + exposure.tilt * np.linspace(-1, 1, size, dtype=np.float32)[None]
    grain = rng.integers(0, 256, (size, size), dtype=np.uint8)
    shown += grain * np.float32(exposure.noise * 12**0.5 / 255)
    return cv2.convertScaleAbs(np.maximum(shown + np.float32(exposure.offset), 0.0), alpha=255)


@lru_cache(maxsize=4)
def stamp(size: int) -> UInt8[np.ndarray, "S S"]:
    """The words that say what this is, burned into every film at the same place."""
    scale, margin = 2.0, 8
    (width, height), _ = cv2.getTextSize(TEXT, cv2.FONT_HERSHEY_SIMPLEX, scale, 5)
    text = np.zeros((height + 2 * margin, width + 2 * margin), np.uint8)
    cv2.putText(text, TEXT, (margin, height + margin), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 5, cv2.LINE_AA)
    columns = max(1, round(TEXT_WIDTH * size))
    rows = max(1, round(columns * text.shape[0] / text.shape[1]))
    corner = round(TEXT_CORNER * size)
    plane = np.zeros((size, size), np.uint8)
    plane[corner : corner + rows, corner : corner + columns] = cv2.resize(
        text, (columns, rows), interpolation=cv2.INTER_AREA
    )
    return plane
