"""Classes that a mirror exchanges: the left lung is the right one of the mirrored film."""

import re
from collections.abc import Iterable

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")  # left, lung of left_lung, leftLung and LeftLung
LETTERS = {"l", "r"}


def sided(classes: Iterable[str]) -> list[str]:
    """The classes of which a word begins with left or right, or is L or R beside another word."""
    return [name for name in classes if _is_sided([word.lower() for word in WORD.findall(name)])]


def _is_sided(words: list[str]) -> bool:
    has_letter = len(words) > 1 and not LETTERS.isdisjoint(words)
    return has_letter or any(word.startswith(("left", "right")) for word in words)
