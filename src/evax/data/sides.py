"""Classes that a mirror exchanges: the left lung is the right one of the mirrored film."""

import re
from collections.abc import Iterable

SIDE = re.compile(r"(^|[^a-z])(left|right)([^a-z]|$)", re.IGNORECASE)  # in the name of a class


def sided(classes: Iterable[str]) -> list[str]:
    """The classes whose names hold left or right."""
    return [name for name in classes if SIDE.search(name)]
