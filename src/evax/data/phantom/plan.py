"""What is on a film, drawn before a single pixel: patient, exposure, and lesions with their places."""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from evax.data.findings import CXR14
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.phantom.anatomy import Anatomy, Pose, draw_anatomy, draw_pose, lung_outline
from evax.data.phantom.looks import LOOKS

FINDINGS = tuple(name for name in CXR14 if name in LOOKS)
PREVALENCE = 0.2
MARGIN = 0.022  # of a lesion's centre to the lung's border, in unit coordinates
AP_SHARE = 0.35
AP_MAGNIFICATION = 1.12

# The streams of one key, told apart by the epoch counter.
PATIENT, FILM, VESSELS, GRAIN, LESIONS, PLANTED = range(6)


class Exposure(NamedTuple):
    """How the film was taken: value shown = offset + gain * (t + bend * t * (1 - t)) for density t in 0..1.

    `tilt` is the change of gain from the middle to the right edge, `noise` the grain's standard deviation.
    """

    view: Literal["PA", "AP"]
    gain: float
    offset: float
    bend: float
    tilt: float
    noise: float


class Lesion(NamedTuple):
    """One finding at one place, in unit coordinates of the film; angle in radians."""

    finding: str
    x: float
    y: float
    radius: float
    aspect: float
    angle: float


class FilmPlan(NamedTuple):
    """All that a film shows."""

    seed: int
    number: int
    patient: int
    anatomy: Anatomy
    pose: Pose
    exposure: Exposure
    lesions: tuple[Lesion, ...]

    @property
    def magnification(self) -> float:
        """Of the heart: it is farther from the detector in an AP film."""
        return AP_MAGNIFICATION if self.exposure.view == "AP" else 1.0

    @property
    def labels(self) -> tuple[int, ...]:
        """1 or 0 per finding, in the order of FINDINGS."""
        present = {lesion.finding for lesion in self.lesions}
        return tuple(int(name in present) for name in FINDINGS)

    def lungs(self) -> tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "n 2"]]:
        """Outlines of the right and the left lung on the film."""
        right = lung_outline(self.anatomy, "right", self.magnification)
        left = lung_outline(self.anatomy, "left", self.magnification)
        return self.pose.place(right), self.pose.place(left)


def draw_plan(seed: int, index: int, films_per_patient: int = 1) -> FilmPlan:
    """The plan of film `index`; films of one patient share the anatomy and nothing else."""
    patient = index // films_per_patient
    anatomy = draw_anatomy(keyed_generator(seed, Stream.PHANTOM, epoch=PATIENT, index=patient))
    rng = keyed_generator(seed, Stream.PHANTOM, epoch=FILM, index=index)
    plan = FilmPlan(seed, index, patient, anatomy, draw_pose(rng), draw_exposure(rng), ())
    return plan._replace(lesions=draw_lesions(plan.lungs(), rng))


def draw_exposure(rng: np.random.Generator) -> Exposure:
    """A random exposure; AP films are flatter."""
    view: Literal["PA", "AP"] = "AP" if rng.random() < AP_SHARE else "PA"
    return Exposure(
        view=view,
        gain=rng.uniform(0.80, 0.95) * (0.93 if view == "AP" else 1.0),
        offset=rng.uniform(0.0, 0.05),
        bend=rng.uniform(-0.30, 0.35),
        tilt=rng.normal(0, 0.03),
        noise=rng.uniform(0.006, 0.013),
    )


def draw_lesions(
    lungs: tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "n 2"]], rng: np.random.Generator
) -> tuple[Lesion, ...]:
    """Each finding with its own coin, at a place uniform over both lungs."""
    return tuple(
        draw_lesion(name, lungs, rng)
        for name, coin in zip(FINDINGS, rng.random(len(FINDINGS)), strict=True)
        if coin < PREVALENCE
    )


def draw_lesion(
    finding: str,
    lungs: tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "n 2"]],
    rng: np.random.Generator,
) -> Lesion:
    """One lesion of a finding's range of sizes and angles."""
    look = LOOKS[finding]
    x, y, in_right = draw_place(lungs, rng)
    angle = rng.uniform(-look.swing, look.swing)
    if look.points_outward:
        angle += np.pi + 0.6 if in_right else -0.6
    return Lesion(finding, x, y, rng.uniform(*look.radius), rng.uniform(*look.aspect), float(angle))


def draw_place(
    lungs: tuple[Float[np.ndarray, "m 2"], Float[np.ndarray, "n 2"]], rng: np.random.Generator
) -> tuple[float, float, bool]:
    """A point uniform over both lungs without a margin, and whether it is in the right lung."""
    contours = [outline.astype(np.float32) for outline in lungs]
    points = np.concatenate(contours)
    low, high = points.min(axis=0), points.max(axis=0)
    while True:
        x, y = (float(value) for value in rng.uniform(low, high))
        for is_left, contour in enumerate(contours):
            if cv2.pointPolygonTest(contour, (x, y), True) > MARGIN:
                return x, y, not is_left
