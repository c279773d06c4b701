"""Phantoms of patients whose name must not leave the pack."""

from typing import ClassVar, Literal

from evax.data.film import Film, Refusal
from evax.data.sources.phantom import PhantomSource

SECRET = "PLANTED_77"


class NamedPhantoms(PhantomSource):
    """Phantoms whose patients and films carry a name, and one refused film that does."""

    def films(self) -> tuple[list[Film], list[Refusal]]:
        films, refusals = super().films()
        named = [
            Film(
                image_id=f"{film.image_id}-{SECRET}",
                patient_id=f"{film.patient_id}-{SECRET}",
                labels=film.labels,
                splits=film.splits,
                boxes=film.boxes,
            )
            for film in films
        ]
        return named, [*refusals, Refusal(f"lost-{SECRET}", "missing")]

    def read(self, film: Film):
        plain = {name: getattr(film, name) for name in ("patient_id", "labels")}
        return super().read(Film(image_id=film.image_id.removesuffix(f"-{SECRET}"), **plain))


class CredentialedPhantoms(NamedPhantoms):
    """The same under the rules of a hospital."""

    share: ClassVar[Literal["public", "credentialed"]] = "credentialed"
