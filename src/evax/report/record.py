"""One results file: what was measured, on which films, by which command, and what else was tried."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


class ResultError(ValueError):
    """A results file that cannot be used; one line naming the file and the field."""


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; None where it could not be computed."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Trial:
    """One setting of the cross-validation: feature set, inverse penalty, macro AUROC (None: the only setting).

    Of nearest films, which have no penalty, it is how many vote and at which temperature.
    """

    features: str
    strength: float | None
    auroc_macro: float | None
    neighbors: int | None = None
    temperature: float | None = None

    @property
    def setting(self) -> str:
        """What was chosen beside the features."""
        if self.neighbors is not None:
            return f"{self.neighbors} nearest at {self.temperature:g}"
        return f"{self.strength:g}"


@dataclass(frozen=True)
class Comparison:
    """This result minus the one named `rival`, in macro AUROC on the same test films."""

    rival: str
    auroc_macro: Interval


@dataclass(frozen=True)
class Result:
    """A committed result. `name` is the file's stem; `recipe` tells code from paper under official.

    `not_scored` says why a finding has no AUROC, also findings that are not among `findings`; `remarks` which are
    scored on few images, `no_interval` why an interval is missing, `cautions` what else a reader must not overlook.
    """

    name: str
    method: str
    data: str
    protocol: Literal["clean", "official"]
    recipe: Literal["", "code", "paper"]
    findings: tuple[str, ...]
    auroc_macro: Interval
    auroc: dict[str, Interval]
    chosen: Trial | None
    trials: tuple[Trial, ...]
    num_train: int
    num_test: int
    num_test_patients: int
    num_draws: int
    seed: int
    train_ids_digest: str
    test_ids_digest: str
    config_hash: str
    commit: str
    command: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    not_scored: dict[str, str] = dataclasses.field(default_factory=dict)
    remarks: dict[str, str] = dataclasses.field(default_factory=dict)
    no_interval: dict[str, str] = dataclasses.field(default_factory=dict)
    cautions: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The file's text: two spaces of indent, field order as declared."""
        content = dataclasses.asdict(self, dict_factory=_without_absent)
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, file: str) -> "Result":
        """Parse strictly; `file` opens every message."""
        result = parse(cls, text, file)
        _check(result, file)
        return result

    @property
    def setting(self) -> tuple[str, ...]:
        """What two results must share before their numbers may stand side by side."""
        return (self.data, self.protocol, self.recipe, self.test_ids_digest, *self.findings)


def parse(kind: type[Record], text: str, file: str) -> Record:
    """A dataclass from the text of a file that holds exactly its fields; `file` opens every message."""
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ResultError(f"{file}: not valid JSON ({error})") from None
    found: Record = _decode(kind, content, file, "")
    return found


def read_results(folder: Path) -> list[Result]:
    """All results of a folder in order of name; comparisons are checked against their partners."""
    results = [Result.from_json(path.read_text(encoding="utf-8"), path.name) for path in sorted(folder.glob("*.json"))]
    for path, result in zip(sorted(folder.glob("*.json")), results, strict=True):
        if path.stem != result.name:
            raise ResultError(f"{path.name}: name is {result.name!r}; it must be the file's stem")
    by_name = {result.name: result for result in results}
    for result in results:
        for comparison in result.comparisons:
            _check_comparison(result, comparison, by_name)
    return results


def _without_absent(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Fields of a dataclass; a linear probe has no votes, and most results nothing to be said beside them."""
    absent: dict[str, Any] = {
        "neighbors": None,
        "temperature": None,
        "not_scored": {},
        "remarks": {},
        "no_interval": {},
        "cautions": (),
    }
    return {name: value for name, value in items if name not in absent or value != absent[name]}


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON; write null")


def _decode(kind: Any, value: Any, file: str, field: str) -> Any:
    """`value` as `kind`: a dataclass, tuple, dict, union with None, Literal, or plain type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_fields(kind, value, file, field)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(arguments[0], item, file, f"{field}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, file, f"{field}.{key}") for key, item in value.items()}
    if origin is UnionType:
        return None if value is None else _decode(arguments[0], value, file, field)
    if origin is Literal and value in arguments:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (int, str) and type(value) is kind:
        return value
    expected = f"one of {arguments}" if origin is Literal else getattr(kind, "__name__", str(kind))
    raise ResultError(f"{file}: field {field!r} is {json.dumps(value)[:40]}, expected {expected}")


def _decode_fields(kind: Any, value: Any, file: str, field: str) -> Any:
    hints = get_type_hints(kind)
    prefix = f"{field}." if field else ""
    if not isinstance(value, dict):
        raise ResultError(f"{file}: field {field or 'top level'!r} must be an object")
    missing = dataclasses.MISSING
    optional = {
        each.name for each in dataclasses.fields(kind) if (each.default, each.default_factory) != (missing,) * 2
    }
    for name in hints:
        if name not in value and name not in optional:
            raise ResultError(f"{file}: field {prefix + name!r} is missing")
    for name in value:
        if name not in hints:
            raise ResultError(f"{file}: field {prefix + name!r} is unknown; known are {', '.join(hints)}")
    given = {name: hint for name, hint in hints.items() if name in value}
    return kind(**{name: _decode(hint, value[name], file, prefix + name) for name, hint in given.items()})


def _check(result: Result, file: str) -> None:
    """The parts of a result must agree with one another."""
    if tuple(result.auroc) != result.findings:
        raise ResultError(f"{file}: field 'auroc' must hold exactly the findings, in their order")
    defined = [interval.value for interval in result.auroc.values() if interval.value is not None]
    mean = sum(defined) / len(defined) if defined else None
    if not _same(mean, result.auroc_macro.value):
        raise ResultError(f"{file}: field 'auroc_macro.value' is not the mean of 'auroc' ({mean})")
    if result.chosen is not None and result.chosen not in result.trials:
        raise ResultError(f"{file}: field 'chosen' is none of 'trials'")
    if (result.protocol == "official") == (result.recipe == ""):
        raise ResultError(f"{file}: field 'recipe' is code or paper under protocol official, empty under clean")


def _check_comparison(result: Result, comparison: Comparison, by_name: dict[str, Result]) -> None:
    """A comparison names a result of the same setting, and its value is the difference of the two."""
    file = f"{result.name}.json"
    rival = by_name.get(comparison.rival)
    if rival is None:
        raise ResultError(f"{file}: field 'comparisons' names {comparison.rival!r}, which has no results file")
    for field in ("data", "protocol", "recipe", "findings", "test_ids_digest"):
        mine, other = getattr(result, field), getattr(rival, field)
        if mine != other:
            raise ResultError(f"{file}: compared with {rival.name}, whose {field} is {other!r}, not {mine!r}")
    value, rival_value = result.auroc_macro.value, rival.auroc_macro.value
    difference = None if value is None or rival_value is None else value - rival_value
    if not _same(difference, comparison.auroc_macro.value):
        raise ResultError(f"{file}: the difference to {rival.name} is stale; run the comparison again")


def _same(expected: float | None, found: float | None) -> bool:
    if expected is None or found is None:
        return expected is found
    return math.isclose(expected, found, rel_tol=0, abs_tol=1e-9)
