"""Classes that a mirror exchanges: the left lung is the right one of the mirrored film."""

import re
from collections.abc import Iterable

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")  # R, Lung, 2 of RLung2
LETTERS = {"l", "r"}
SHORT = {"lt", "rt", "lul", "lll", "rul", "rml", "rll"}  # and lobes


def sided(classes: Iterable[str]) -> list[str]:
    """The classes of which a word begins with left or right, is short for a side or lobe, or is L or R beside another.

    An L with a number, as of a vertebra, is no side.
    """
    return [name for name in classes if _is_sided([word.lower() for word in WORD.findall(name)])]


def _is_sided(words: list[str]) -> bool:
    letters = [word for word, after in zip(words, [*words[1:], ""], strict=True) if not after.isdigit()]
    has_letter = len(words) > 1 and not LETTERS.isdisjoint(letters)
    return has_letter or not SHORT.isdisjoint(words) or any(word.startswith(("left", "right")) for word in words)
