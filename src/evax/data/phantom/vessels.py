"""The vessel tree of the lungs: three generations of curves in the patient frame of `anatomy`."""

import numpy as np
from jaxtyping import Float

from evax.data.phantom.anatomy import Anatomy, stretch

VESSEL_T = np.linspace(0, 1, 8)  # from the start of a vessel to its end


def vessels(
    anatomy: Anatomy, rng: np.random.Generator
) -> list[tuple[Float[np.ndarray, "k m 2"], Float[np.ndarray, "k m"]]]:
    """Three generations of vessels of both lungs: centre lines in the patient frame and their widths."""
    roots = np.repeat(np.array([(-0.085, 0.45), (0.10, 0.415)]), 8, axis=0)
    lateral = np.repeat([np.pi, 0.0], 8)
    spread = np.tile(np.linspace(-1.35, 1.45, 8), 2) + rng.normal(0, 0.10, 16)
    angle = lateral + np.where(lateral > 0, -spread, spread)
    length = rng.uniform(0.20, 0.31, 16) * (1 + 0.25 * np.abs(np.sin(angle)))
    curves, widths = branches(roots, angle, length, np.full(16, 0.0115), rng)
    generations = [(curves, widths)]
    for children, share in ((3, 0.55), (3, 0.60)):
        curves, widths = sprout(curves, widths, children, share, rng)
        generations.append((curves, widths))
    return [(stretch(anatomy, curves), widths) for curves, widths in generations]


def branches(
    start: Float[np.ndarray, "k 2"],
    angle: Float[np.ndarray, " k"],
    length: Float[np.ndarray, " k"],
    width: Float[np.ndarray, " k"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "k m 2"], Float[np.ndarray, "k m"]]:
    """Gently bent, tapering vessels."""
    bend, wave = rng.normal(0, 0.45, (2, len(angle), 1))
    heading = angle[:, None] + bend * VESSEL_T + 0.6 * wave * np.sin(2 * np.pi * VESSEL_T)
    steps = np.stack([np.cos(heading), np.sin(heading)], -1) * (length[:, None, None] / (len(VESSEL_T) - 1))
    curves = start[:, None] + np.cumsum(steps, axis=1) - steps[:, :1]
    return curves, width[:, None] * (1 - 0.75 * VESSEL_T)


def sprout(
    curves: Float[np.ndarray, "k m 2"],
    widths: Float[np.ndarray, "k m"],
    children: int,
    share: float,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "c m 2"], Float[np.ndarray, "c m"]]:
    """Side branches of vessels, alternating between both sides."""
    parents = len(curves)
    at = np.tile(np.linspace(2, 5, children).astype(int), parents)
    parent = np.repeat(np.arange(parents), children)
    ahead = curves[parent, at + 1] - curves[parent, at]
    side = np.where((np.arange(len(at)) + parent) % 2 == 0, 1.0, -1.0)
    angle = np.arctan2(ahead[:, 1], ahead[:, 0]) + side * rng.uniform(0.45, 1.0, len(at))
    rest = np.sqrt((ahead**2).sum(-1)) * (len(curves[0]) - at)
    return branches(
        curves[parent, at],
        angle,
        share * rest * rng.uniform(0.8, 1.4, len(at)),
        0.75 * widths[parent, at],
        rng,
    )
