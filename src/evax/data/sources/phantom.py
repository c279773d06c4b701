"""The embedded data set: a procedural chest phantom. A test object, never medical data."""

import hashlib
import json
from typing import ClassVar, Literal

from evax.data.film import Box, Film, Pixels, Refusal
from evax.data.keyed_random import Stream, keyed_generator
from evax.data.phantom.findings import lesion_boxes
from evax.data.phantom.plan import FINDINGS, FilmPlan, draw_plan
from evax.data.phantom.planted import CHECKS, SQUARE, draw_square, render_planted, square_box
from evax.data.phantom.render import render
from evax.data.sources.base import Source

PREFIX = "phantom-"
TRAIN_SHARE, VAL_SHARE = 0.7, 0.1


class PhantomSource(Source):
    """Films drawn on demand: each is a function of the seed, its number and the size alone.

    Films of a patient show the same anatomy; patients keep to one split (70 % train, 10 % val, 20 % test). `contrast`
    multiplies the density of lesions: 1 is as faint as findings on real films are. With `planted` "square", half of the
    films have one faint square in place of lesions, the only finding.
    """

    name: ClassVar[str] = "phantom"
    version: ClassVar[str] = "1"
    share: ClassVar[Literal["public", "credentialed"]] = "public"

    def __init__(
        self,
        num_films: int = 2000,
        seed: int = 0,
        size: int = 224,
        films_per_patient: int = 2,
        contrast: float = 1.0,
        planted: str | None = None,
    ) -> None:
        for key, value, least in (
            ("num_films", num_films, 1),
            ("seed", seed, 0),
            ("size", size, 32),
            ("films_per_patient", films_per_patient, 1),
        ):
            if value < least:
                raise ValueError(f"phantom: {key} is {value}, it must be at least {least}")
        if contrast <= 0:
            raise ValueError(f"phantom: contrast is {contrast}, it must be above 0")
        if planted not in (None, "square"):
            raise ValueError(f"phantom: planted is {planted}, it must be square, or null")
        self.num_films = num_films
        self.contrast = contrast
        self.seed = seed
        self.size = size
        self.films_per_patient = films_per_patient
        self.planted = planted

    @property
    def findings(self) -> tuple[str, ...]:
        """The eight lesions, or what is planted."""
        return (SQUARE,) if self.planted else FINDINGS

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The table, drawn without rendering; nothing is ever refused."""
        return [self._film(index) for index in range(self.num_films)], []

    def read(self, film: Film) -> Pixels:
        """Render a film of this source's table, with the masks `lungs` and `lesions`."""
        draw = render_planted if self.planted else render
        return draw(self._plan(int(film.image_id.removeprefix(PREFIX))), self.size, self.contrast)

    def fingerprint(self) -> str:
        """Digest of version and parameters."""
        settings = [self.version, self.num_films, self.seed, self.size, self.films_per_patient]
        settings += [str(self.contrast)] if self.contrast != 1 else []
        settings += [f"planted {self.planted}, {CHECKS} checks"] if self.planted else []
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    def _plan(self, index: int) -> FilmPlan:
        return draw_plan(self.seed, index, self.films_per_patient)

    def _film(self, index: int) -> Film:
        plan = self._plan(index)
        labels, boxes = self._shown(plan)
        return Film(
            image_id=f"{PREFIX}{index:06d}",
            patient_id=f"P{plan.patient:05d}",
            labels=labels,
            splits={"official": draw_split(self.seed, plan.patient)},
            view=plan.exposure.view,
            sex=plan.anatomy.sex,
            age=float(plan.anatomy.age),
            boxes=boxes,
        )

    def _shown(self, plan: FilmPlan) -> tuple[tuple[int, ...], tuple[Box, ...]]:
        """Labels and boxes of a film."""
        if not self.planted:
            return plan.labels, lesion_boxes(plan, self.size)
        square = draw_square(plan)
        return (int(square is not None),), (square_box(square, self.size),) if square else ()


def draw_split(seed: int, patient: int) -> str:
    """The split that a patient belongs to."""
    draw = keyed_generator(seed, Stream.SPLIT, index=patient).random()
    if draw < TRAIN_SHARE:
        return "train"
    return "val" if draw < TRAIN_SHARE + VAL_SHARE else "test"
