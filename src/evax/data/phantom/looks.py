"""How each finding looks: its outline, and the change of density it makes around its centre.

Every look is clear in shape or texture and weak in mean density, as findings on real films are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

Field = Float[np.ndarray, "h w"]
Paint = Callable[[Field, Field, np.random.Generator], Field]


@dataclass(frozen=True, slots=True)
class Look:
    """A finding's range of shapes (lengths in unit coordinates) and its paint.

    `paint(u, v, rng)` gives the density change at local coordinates u, v, in units of the radius, u along the
    long axis. `balance` is the share of its mean that is taken back, `covers` how far it hides the lung's
    vessels, `edge` the softness of its border as a share of the radius.
    """

    paint: Paint
    radius: tuple[float, float]
    aspect: tuple[float, float] = (0.85, 1.0)
    swing: float = np.pi
    points_outward: bool = False
    lobes: float = 0.0
    balance: float = 0.0
    covers: float = 0.0
    edge: float = 0.2


def gauss(distance: Field, width: float) -> Field:
    """1 at distance 0, falling off over a width."""
    return np.exp(-((distance / width) ** 2))


def plate(u: Field, v: Field, rng: np.random.Generator) -> Field:
    """Atelectasis: a thin, slightly bent band."""
    bend = rng.uniform(-0.12, 0.12)
    return 0.36 * gauss(v - bend * (u**2 - 0.4), 0.085) * np.clip(1.6 * (1 - u**2), 0, 1)


def patches(u: Field, v: Field, rng: np.random.Generator) -> Field:
    """Infiltration: fine, ill-defined patches."""
    return 0.11 * np.clip(texture(u, v, rng, cells=13), -0.5, 2.0)


def mass(u: Field, v: Field, _rng: np.random.Generator) -> Field:
    """Mass: one large round density with a soft edge."""
    return 0.34 * np.exp(-1.9 * (u**2 + v**2) ** 2)


def nodule(u: Field, _v: Field, _rng: np.random.Generator) -> Field:
    """Nodule: one small round density with a clear edge."""
    return np.full_like(u, 0.36)


def pleural_line(u: Field, v: Field, _rng: np.random.Generator) -> Field:
    """Pneumothorax: a thin line, convex outward (towards u), and darker, empty lung beyond it."""
    radius = np.sqrt((u + SECTOR_CENTRE) ** 2 + v**2)
    return 0.30 * gauss(radius - SECTOR_LINE, 0.075) - 0.12 * (radius > SECTOR_LINE)


def haze(u: Field, v: Field, rng: np.random.Generator) -> Field:
    """Consolidation: an even density crossed by dark, branching airways (air bronchogram)."""
    fork = rng.uniform(0.45, 0.7)
    stem = gauss(v, 0.09) * (u < 0.0)
    twigs = gauss(v - fork * u, 0.08) + gauss(v + fork * u, 0.08)
    late = gauss(v - fork * (0.45 - u) - 0.75 * fork, 0.06) * (u > -0.2) * (v > 0.2)
    airways = np.clip(stem + twigs * (u >= 0.0) + late, 0, 1)
    return 0.22 - 0.22 * airways


def bulla(u: Field, v: Field, _rng: np.random.Generator) -> Field:
    """Emphysema: a round lucency with a thin wall."""
    radius = np.sqrt(u**2 + v**2)
    return 0.24 * gauss(radius - 0.86, 0.095) - 0.11 * (radius < 0.86)


def net(u: Field, v: Field, rng: np.random.Generator) -> Field:
    """Fibrosis: a reticular net of lines around small holes."""
    shift = texture(u, v, rng, cells=5)
    phase = rng.uniform(0, 2 * np.pi, 3)
    waves = np.zeros_like(u)
    for k, angle in enumerate(np.array([0.0, 2.0, 4.0]) * np.pi / 3):
        waves += np.cos(NET_WAVES * (u * np.cos(angle) + v * np.sin(angle)) + phase[k] + 0.8 * shift)
    return 0.10 * np.clip(0.2 - waves, -0.6, 1.0)


def texture(u: Field, v: Field, rng: np.random.Generator, cells: int) -> Field:
    """Smooth noise of unit variance with `cells` cells across the finding's diameter."""
    coarse = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    scale = (cells + 2) / 2.4
    return 1.3 * cv2.remap(
        coarse,
        (u * scale + scale).astype(np.float32),
        (v * scale + scale).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )


SECTOR_CENTRE, SECTOR_LINE = 1.30, 1.0
NET_WAVES = 19.0

LOOKS = {
    "Atelectasis": Look(plate, (0.085, 0.115), aspect=(0.20, 0.24), swing=0.6),
    "Infiltration": Look(patches, (0.075, 0.095), lobes=0.10, balance=0.6, edge=0.35),
    "Mass": Look(mass, (0.070, 0.090), covers=0.5, edge=0.3),
    "Nodule": Look(nodule, (0.030, 0.036), edge=0.35),
    "Pneumothorax": Look(
        pleural_line, (0.085, 0.105), aspect=(1.0, 1.0), swing=0.7, points_outward=True, covers=0.9, edge=0.12
    ),
    "Consolidation": Look(haze, (0.075, 0.095), lobes=0.13, covers=0.8, edge=0.25),
    "Emphysema": Look(bulla, (0.055, 0.070), covers=0.9, edge=0.12),
    "Fibrosis": Look(net, (0.075, 0.095), lobes=0.06, balance=1.0, edge=0.3),
}
