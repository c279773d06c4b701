"""How scores are written, also those that could not be computed: one way for tables, figures and the terminal."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Score = Mapping[str, float | None]  # value, low, high; None: could not be computed
FINDINGS, CLASSES = ("finding", "findings"), ("class", "classes")
NO_REASON = "could not be scored"  # of files that do not say why
NO_FINDING = "no finding could be scored"
MACRO = "macro"


def label(name: str) -> str:
    """A finding's name as it is written in text."""
    return name.replace("_", " ")


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A value, or a dash."""
    if value is None:
        return "–"
    return f"{value:{'+' * signed}.{digits}f}".replace("-", "−")


def plain(text: str) -> str:
    """Text for the terminal, which has a minus of its own."""
    return text.replace("−", "-")


def beside(score: Score, digits: int = 3, *, signed: bool = False, why: str = "", remark: str = "") -> str:
    """What stands beside a value: its interval, or `why` it has none, and which of its images are few."""
    if score["low"] is None or score["high"] is None:
        words = [f"no interval: {why}" if why else "no interval", *([remark] if remark else [])]
        return f"({'; '.join(words)})"
    bounds = f"[{number(score['low'], digits, signed=signed)}, {number(score['high'], digits, signed=signed)}]"
    return f"{bounds} ({remark})" if remark else bounds


def interval(score: Score, digits: int = 3, *, signed: bool = False, why: str = "", remark: str = "") -> str:
    """A value with what stands beside it; a dash for none."""
    if score["value"] is None:
        return "–"
    words = beside(score, digits, signed=signed, why=why, remark=remark)
    return f"{number(score['value'], digits, signed=signed)} {words}"


def coverage(num_scored: int, not_scored: Mapping[str, str], nouns: tuple[str, str] = FINDINGS) -> str:
    """How many findings were scored and why others were not: "6 of 7 findings; Pneumonia: no negative test images"."""
    total = num_scored + len(not_scored)
    if not not_scored:
        return f"{total} {nouns[total != 1]}"
    names: dict[str, list[str]] = {}
    for name, why in not_scored.items():
        names.setdefault(why, []).append(label(name))
    return "; ".join(
        [f"{num_scored} of {total} {nouns[total != 1]}", *(f"{', '.join(each)}: {why}" for why, each in names.items())]
    )


class Remarks(NamedTuple):
    """What must be said beside scores, by finding: why there is none, which images are few, why no interval."""

    not_scored: Mapping[str, str] = {}
    remarks: Mapping[str, str] = {}
    no_interval: Mapping[str, str] = {}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Remarks":
        """Those of a card or of a results file; older files have none."""
        return cls(*(content.get(name) or {} for name in cls._fields))

    def words(self, name: str) -> str:
        """What is said of a finding where its numbers stand apart."""
        lone = f"no interval: {self.no_interval[name]}" if name in self.no_interval else ""
        missing = f"not scored: {self.not_scored[name]}" if name in self.not_scored else ""
        return "; ".join(filter(None, (missing, self.remarks.get(name, ""), lone)))

    def interval(self, name: str, score: Score, digits: int = 3, *, signed: bool = False) -> str:
        """The score of a finding with all that belongs beside it, for a cell of a table."""
        why, remark = self.no_interval.get(name, ""), self.remarks.get(name, "")
        return interval(score, digits, signed=signed, why=why, remark=remark)

    def row(self, name: str, score: Score, digits: int = 3, *, signed: bool = False) -> str:
        """The same in two columns for the terminal, or why the finding was not scored."""
        if score["value"] is None:
            return f"not scored: {self.not_scored.get(name, NO_FINDING if name == MACRO else NO_REASON)}"
        why, remark = self.no_interval.get(name, ""), self.remarks.get(name, "")
        words = beside(score, digits, signed=signed, why=why, remark=remark)
        return plain(f"{number(score['value'], digits, signed=signed)}  {words}")

    def coverage(self, scores: Mapping[str, Score], nouns: tuple[str, str] = FINDINGS) -> str:
        """How many of the findings were scored, those that stand in `not_scored` alone among them."""
        missing = {name: NO_REASON for name, score in scores.items() if score["value"] is None}
        missing |= {name: why for name, why in self.not_scored.items() if name in missing or name not in scores}
        return coverage(sum(score["value"] is not None for score in scores.values()), missing, nouns)
