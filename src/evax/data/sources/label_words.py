"""What the words in a column of labels mean, those of a user's own included."""

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from evax.data.labels import ABSENT, NOT_MENTIONED, PRESENT, UNCERTAIN
from evax.hints import in_quotes

WORDS = {
    **dict.fromkeys(("1", "true", "yes"), PRESENT),
    **dict.fromkeys(("0", "false", "no"), ABSENT),
    "-1": UNCERTAIN,
    **dict.fromkeys(("", "nan", "na", "n/a", "#n/a", "<na>", "nat", "null"), NOT_MENTIONED),
}
# Words whose meaning is offered to the user, never assumed
_LIKELY = {
    **dict.fromkeys(("positive", "pos", "present"), "1"),
    **dict.fromkeys(("negative", "neg", "absent"), "0"),
    **dict.fromkeys(("uncertain", "equivocal"), "-1"),
}
_BARE = re.compile(r"[a-z][a-z0-9 _./+-]*|-?\d+(\.\d+)?", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
_BOOLEANS = {True: ("true", "yes"), False: ("false", "no")}  # YAML reads these words, too, as booleans
_NUM_SHOWN = 6


def words_of(label_map: Any) -> dict[str, int]:
    """What every word means, of which `label_map` adds or changes some: 1, 0, -1 or null, in letters of any case.

    It is a mapping, or pairs of a word and its meaning, since only there a word may stand in quotes.
    Raises ValueError for another meaning.
    """
    meanings = {"1": PRESENT, "0": ABSENT, "-1": UNCERTAIN, "None": NOT_MENTIONED}
    words = dict(WORDS)
    pairs = list(label_map.items()) if isinstance(label_map, Mapping) else [] if label_map is None else label_map
    is_paired = isinstance(pairs, list | tuple) and all(isinstance(each, list | tuple) for each in pairs)
    if not is_paired or any(len(each) != 2 or isinstance(each[0], list | dict) for each in pairs):
        raise ValueError(
            f"source.label_map={label_map}: write what each word means, as in {{positive: 1, negative: 0}} or, for "
            'words of special characters, [["positive",1],["negative",0]]'
        )
    for word, meaning in pairs:
        known = meanings.get(_plain(str(int(meaning) if isinstance(meaning, bool) else meaning), lower=False))
        if known is None:
            raise ValueError(f"source.label_map: {word} means {meaning}; give 1, 0, -1 (uncertain) or null (nothing)")
        spelt = _BOOLEANS[word] if isinstance(word, bool) else ("null" if word is None else str(word),)
        words |= {_plain(each): known for each in spelt}
    return words


def label_of(cell: str, words: Mapping[str, int]) -> int | None:
    """1, 0, -1 (uncertain) or -2 (nothing); None for a word without a meaning."""
    return words.get(_plain(cell))


def unknown_words(cells: Mapping[str, Counter[str]]) -> str:
    """The words without a meaning by column, how often each comes, and how to tell what they mean."""
    counted = [f"column {column} has {_counted(counts)}" for column, counts in cells.items() if counts]
    total: Counter[str] = sum(cells.values(), Counter())
    shown = dict.fromkeys(word.lower() for word, _ in total.most_common(_NUM_SHOWN))
    meant = {word: _LIKELY.get(word, "?") for word in shown}
    meanings = " (each ? being 1, 0, -1 or null)" if "?" in meant.values() else ""
    several = any(len(counts) > 2 for counts in cells.values())
    classes = "; of a column of class names make one of 1 and 0 for each class (pandas.get_dummies)" if several else ""
    return f"{'; '.join(counted)}: say what the words mean, {_typed(meant)}{meanings}{classes}"


def _typed(meant: Mapping[str, str]) -> str:
    """The setting as a shell takes it: pairs in quotes where a word is not one that Hydra reads without them."""
    if all(_BARE.fullmatch(word) for word in meant):
        asked = f"{{{', '.join(f'{word}: {meaning}' for word, meaning in meant.items())}}}"
    else:
        asked = f"[{','.join(f'[{in_quotes(word)},{meaning}]' for word, meaning in meant.items())}]"
    return shlex.quote(f"source.label_map={asked}")


def _counted(counts: Counter[str]) -> str:
    shown = [f"{word!r} {count} times" for word, count in counts.most_common(_NUM_SHOWN)]
    more = f" and {len(counts) - _NUM_SHOWN} other words" if len(counts) > _NUM_SHOWN else ""
    return f"{', '.join(shown)}{more}"


@lru_cache(maxsize=1024)  # columns repeat few words
def _plain(word: str, *, lower: bool = True) -> str:
    """A word as it is looked up: 1.0, 1,0 and 01 are 1."""
    word = word.strip()
    if _NUMBER.fullmatch(word):
        return f"{float(word.replace(',', '.')) + 0.0:g}"
    return word.lower() if lower else word
