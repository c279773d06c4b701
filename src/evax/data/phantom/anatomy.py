"""The shapes of a chest: body, lungs, heart, diaphragm and bones as curves in unit coordinates.

Shapes are written in a patient frame, x from the midline (positive to the right of the image, the patient's
left), y from the top of the film (0) to its bottom (1), and moved onto the film by a `Pose`.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from evax.data.phantom.drawing import ellipse, rotation, smooth

Side = Literal["right", "left"]
MIRROR = np.array([-1.0, 1.0])
APEX_Y = 0.125

# Lung outlines as (x from the midline, y): lateral wall from the apex down, dome, medial border back up.
LATERAL = np.array(
    [
        (0.115, 0.125),
        (0.185, 0.150),
        (0.245, 0.215),
        (0.295, 0.32),
        (0.328, 0.45),
        (0.345, 0.58),
        (0.35, 0.70),
    ]
)
RIGHT_DOME = np.array([(0.348, 0.795), (0.305, 0.730), (0.235, 0.685), (0.160, 0.675), (0.095, 0.70)])
RIGHT_MEDIAL = np.array(
    [(0.075, 0.745), (0.098, 0.68), (0.102, 0.61), (0.080, 0.53), (0.066, 0.44), (0.052, 0.35), (0.048, 0.26),
     (0.046, 0.18), (0.070, 0.135)]
)  # fmt: skip
LEFT_DOME = np.array([(0.348, 0.805), (0.315, 0.750), (0.270, 0.715), (0.235, 0.715)])
LEFT_MEDIAL = np.array(
    [(0.205, 0.745), (0.205, 0.69), (0.180, 0.61), (0.135, 0.53), (0.096, 0.465), (0.076, 0.40),
     (0.066, 0.345), (0.076, 0.295), (0.060, 0.25), (0.046, 0.18), (0.070, 0.135)]
)  # fmt: skip
TRUNK = np.array(
    [(0.10, -0.08), (0.105, 0.01), (0.15, 0.065), (0.27, 0.085), (0.39, 0.105), (0.50, 0.17), (0.60, 0.30),
     (0.60, 0.46), (0.50, 0.42), (0.425, 0.405), (0.412, 0.50), (0.415, 0.65), (0.42, 0.85), (0.42, 1.10)]
)  # fmt: skip
CLAVICLE = np.array([(0.030, 0.205), (0.10, 0.180), (0.18, 0.165), (0.26, 0.135), (0.345, 0.118)])
SCAPULA = np.array([(0.30, 0.16), (0.345, 0.27), (0.365, 0.39), (0.395, 0.40), (0.42, 0.27), (0.44, 0.17)])
RIB_PAIRS = 10


class Anatomy(NamedTuple):
    """What all films of a patient share; factors are relative to the shapes above."""

    sex: Literal["F", "M"]
    age: int
    chest_width: float
    lung_height: float
    heart_width: float
    fat: float
    dome_tilt: float
    aorta: float
    rib_slope: float
    bone: float
    breast: float


class Pose(NamedTuple):
    """How the patient stood before the detector: turn in radians, scale, shift in unit coordinates."""

    angle: float
    scale: float
    dx: float
    dy: float

    def place(self, points: Float[np.ndarray, "*k 2"]) -> Float[np.ndarray, "*k 2"]:
        """Patient frame to film."""
        centred = (points - np.array([0.0, 0.5])) @ (self.scale * rotation(self.angle))
        return centred + np.array([0.5 + self.dx, 0.5 + self.dy])


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A random patient."""
    sex: Literal["F", "M"] = "F" if rng.random() < 0.46 else "M"
    return Anatomy(
        sex=sex,
        age=int(np.clip(rng.normal(50, 17), 18, 94)),
        chest_width=rng.uniform(0.92, 1.09),
        lung_height=rng.uniform(0.90, 1.08),
        heart_width=rng.uniform(0.82, 1.18),
        fat=rng.uniform(0.90, 1.12),
        dome_tilt=rng.uniform(-0.02, 0.03),
        aorta=rng.uniform(0.85, 1.3),
        rib_slope=rng.uniform(0.8, 1.25),
        bone=rng.uniform(0.75, 1.2),
        breast=rng.uniform(0.5, 1.0) if sex == "F" else 0.0,
    )


def draw_pose(rng: np.random.Generator) -> Pose:
    """A random position of the patient on the film."""
    return Pose(
        angle=float(np.radians(rng.normal(0, 1.8))),
        scale=rng.uniform(0.96, 1.04),
        dx=rng.normal(0, 0.012),
        dy=rng.normal(0, 0.012),
    )


def medial_border(anatomy: Anatomy, side: Side, magnification: float) -> Float[np.ndarray, "n 2"]:
    """Control points of mediastinum and heart against one lung, from the diaphragm up."""
    border = (RIGHT_MEDIAL if side == "right" else LEFT_MEDIAL).copy()
    heart = np.clip((border[:, 1] - 0.42) / 0.15, 0, 1)
    border[:, 0] *= 1 + heart * (anatomy.heart_width * magnification - 1)
    if side == "left":
        border[7, 0] *= anatomy.aorta
    return border


def stretch(anatomy: Anatomy, points: Float[np.ndarray, "*k 2"]) -> Float[np.ndarray, "*k 2"]:
    """Apply a patient's chest width and lung height."""
    factors = np.array([anatomy.chest_width, anatomy.lung_height])
    return (points - np.array([0, APEX_Y])) * factors + np.array([0, APEX_Y])


def lung_outline(anatomy: Anatomy, side: Side, magnification: float) -> Float[np.ndarray, "m 2"]:
    """One lung in the patient frame; its medial border leaves heart and mediastinum out."""
    dome = (RIGHT_DOME if side == "right" else LEFT_DOME).copy()
    dome[1:, 1] += anatomy.dome_tilt * (1 if side == "left" else -1)
    controls = np.vstack([LATERAL, dome, medial_border(anatomy, side, magnification)])
    outline = smooth(stretch(anatomy, controls))
    return outline * MIRROR if side == "right" else outline


def heart_outline(anatomy: Anatomy, magnification: float) -> Float[np.ndarray, "m 2"]:
    """Heart and mediastinum between the lungs, in the patient frame."""
    right = medial_border(anatomy, "right", magnification) * MIRROR
    left = medial_border(anatomy, "left", magnification)
    return smooth(stretch(anatomy, np.vstack([right, left[::-1]])))


def abdomen_outline(anatomy: Anatomy) -> Float[np.ndarray, "m 2"]:
    """Everything below the two domes, in the patient frame."""
    right, left = RIGHT_DOME.copy(), LEFT_DOME.copy()
    right[1:, 1] -= anatomy.dome_tilt
    left[1:, 1] += anatomy.dome_tilt
    domes = smooth(stretch(anatomy, np.vstack([right * MIRROR, left[::-1]])), closed=False)
    return np.vstack([domes, [(0.6, 0.9), (0.6, 1.2), (-0.6, 1.2), (-0.6, 0.9)]])


def body_outline(anatomy: Anatomy) -> Float[np.ndarray, "m 2"]:
    """Neck, shoulders and trunk in the patient frame."""
    half = TRUNK * np.array([anatomy.chest_width * anatomy.fat, 1.0])
    return np.vstack([smooth(half, closed=False), smooth(half[::-1] * MIRROR, closed=False)])


def ribs(anatomy: Anatomy) -> tuple[Float[np.ndarray, "k m 2"], Float[np.ndarray, "j n 2"]]:
    """Centre lines of posterior and anterior rib arcs, right and left, in the patient frame."""
    order = np.linspace(0, 1, RIB_PAIRS)
    start = 0.115 + 0.60 * order
    drop = anatomy.rib_slope * (0.055 + 0.06 * order)
    end = start + drop
    wall = np.interp(end, LATERAL[:, 1], LATERAL[:, 0]) + 0.010
    x = np.stack([np.full(RIB_PAIRS, 0.03), 0.30 * wall, 0.62 * wall, 0.90 * wall, wall], -1)
    rise = -0.012 * (1 - order)
    y = np.stack([start, start + rise, start + 0.22 * drop, start + 0.62 * drop, end], -1)
    posterior = np.stack([x, y], -1)
    front = slice(1, RIB_PAIRS - 2)
    ax = np.stack([wall, 0.93 * wall, 0.72 * wall, 0.50 * wall], -1)[front]
    fall = anatomy.rib_slope * (0.07 + 0.03 * order)
    ay = np.stack([end, end + 0.4 * fall, end + 0.85 * fall, end + 1.1 * fall], -1)[front]
    anterior = np.stack([ax, ay], -1)
    back, fore = (smooth(stretch(anatomy, controls), closed=False) for controls in (posterior, anterior))
    return np.concatenate([back * MIRROR, back]), np.concatenate([fore * MIRROR, fore])


def clavicles(anatomy: Anatomy) -> Float[np.ndarray, "2 m 2"]:
    """Centre lines of both clavicles in the patient frame."""
    curve = smooth(CLAVICLE * np.array([anatomy.chest_width, 1.0]), closed=False)
    return np.stack([curve * MIRROR, curve])


def shoulder_blades(anatomy: Anatomy) -> list[Float[np.ndarray, "m 2"]]:
    """Scapulae and heads of the humerus in the patient frame."""
    scapula = smooth(SCAPULA) * np.array([anatomy.chest_width, 1.0])
    head = ellipse(0.475 * anatomy.chest_width, 0.185, 0.042, 0.048)
    return [scapula, scapula * MIRROR, head, head * MIRROR]


@lru_cache(maxsize=1)
def vertebrae() -> Float[np.ndarray, "k m 2"]:
    """Vertebral bodies from the neck to the abdomen, in the patient frame."""
    corners = np.array([(-1, -1), (-0.86, 0), (-1, 1), (1, 1), (0.86, 0), (1, -1)])
    middles = np.linspace(0.0, 1.0, 18)
    half_sizes = np.stack([0.031 + 0.010 * middles, np.full(18, 0.0215)], -1)
    return corners * half_sizes[:, None] + np.stack([np.zeros(18), middles], -1)[:, None]
