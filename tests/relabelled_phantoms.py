"""Phantoms that carry another data set's classes or masks, which they do not show."""

from dataclasses import replace

import numpy as np

from evax.data.film import Film, Pixels, Refusal
from evax.data.sources.phantom import PhantomSource


class RelabelledPhantoms(PhantomSource):
    """Phantoms with a label of each of `findings`: both values in turn, or exactly one class a film."""

    findings: tuple[str, ...] = ()

    def __init__(self, findings: tuple[str, ...], *, exclusive: bool, num_films: int, size: int) -> None:
        super().__init__(num_films=num_films, size=size)
        self.findings = findings
        self.exclusive = exclusive

    def films(self) -> tuple[list[Film], list[Refusal]]:
        films, refusals = super().films()
        return [self._relabelled(film, number) for number, film in enumerate(films)], refusals

    def _relabelled(self, film: Film, number: int) -> Film:
        count = len(self.findings)
        labels = tuple(int(number % count == k if self.exclusive else (number + k) % 2) for k in range(count))
        return Film(film.image_id, film.patient_id, labels, film.splits)


class MaskedPhantoms(PhantomSource):
    """Phantoms whose lungs stand for every mask of a data set, in a scheme "clean" and one "official"."""

    def __init__(self, masks: tuple[str, ...], *, num_films: int, size: int) -> None:
        super().__init__(num_films=num_films, size=size)
        self.masks = masks

    def films(self) -> tuple[list[Film], list[Refusal]]:
        films, refusals = super().films()
        schemes = [{"official": film.splits["official"], "clean": film.splits["official"]} for film in films]
        return [replace(film, splits=each) for film, each in zip(films, schemes, strict=True)], refusals

    def read(self, film: Film) -> Pixels:
        image, masks = super().read(film)
        lungs = (masks["lungs"] > 0).astype(np.uint8)
        return Pixels(image, dict.fromkeys(self.masks, lungs))
