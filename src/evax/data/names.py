"""Names of columns and findings as a configuration gives them: YAML reads some of them as numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Name: TypeAlias = Any  # text, or a number that YAML has made of it


def as_name(key: str, value: Name) -> str:
    """A name as text, 0 as "0"; ValueError names the key where YAML has read it as something else."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    read_as = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{key}: {read_as} is no name; if a column is called so, put it into quotes, '{read_as}'")
    raise ValueError(f"{key}: {read_as} is no name; give names as text")


def as_names(key: str, value: Any) -> tuple[str, ...]:
    """Names in their order; one alone need not be in a list, and null is none. ValueError names the key."""
    if value is None:
        return ()
    if isinstance(value, Mapping):
        raise ValueError(f"{key}={dict(value)}: give a list of names, [{', '.join(map(str, value))}]")
    return tuple(as_name(key, name) for name in (value if _is_list(value) else [value]))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
