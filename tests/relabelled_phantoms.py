"""Phantoms that carry another data set's classes, which they do not show."""

from evax.data.film import Film, Refusal
from evax.data.sources.phantom import PhantomSource


class RelabelledPhantoms(PhantomSource):
    """Phantoms with a label of each of `findings`: both values in turn, or exactly one class a film."""

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
