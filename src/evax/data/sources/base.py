"""The contract of a data source."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from evax.data.film import BadFilmError, Film, Pixels, Refusal
from evax.data.reading import read_grey


class Source(ABC):
    """A public data set in its official download layout, read as films.

    Subclasses name the data set once. `share` is "credentialed" when pixels and ids must never leave the machine.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    share: ClassVar[Literal["public", "credentialed"]]
    redraw: ClassVar[str] = ""  # the setting that draws all splits by patient, where a user's lists may cross

    @property
    @abstractmethod
    def findings(self) -> tuple[str, ...]:
        """The label order for loader, metrics and plots."""

    @property
    def drawn(self) -> Mapping[str, tuple[str, ...]]:
        """The splits of each scheme that are drawn by patient, not published."""
        return {}

    @property
    def leaky(self) -> tuple[str, ...]:
        """The schemes that were published with patients in two splits, which are kept as they are and counted."""
        return ()

    @property
    def provenance(self) -> dict[str, str]:
        """What the manifest is to tell of the source's tables, such as which split lists were read."""
        return {}

    @abstractmethod
    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The table, in a stable order, and the rows or files that cannot be films."""

    @abstractmethod
    def read(self, film: Film) -> Pixels:
        """Decode one film; picklable work for a child process. Raises BadFilmError."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that changes when the source's table or settings change; lets a killed run continue."""


class FileSource(Source):
    """A source whose films are files, one each."""

    def read(self, film: Film) -> Pixels:
        """Decode the file of a film."""
        if film.path is None:
            raise BadFilmError("missing")
        return Pixels(read_grey(film.path), {})
