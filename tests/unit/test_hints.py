"""Hints for misspelt names."""

import ast
from pathlib import Path

import pytest

import evax
from evax.hints import CATALOGUE, nearest

LONG = [f"number_{number}" for number in range(25)]
HUGE = [f"model_{number:03}" for number in range(CATALOGUE + 1)]


@pytest.mark.parametrize(
    ("name", "valid", "hint"),
    [
        ("rato", ["ratio", "topup"], "did you mean 'ratio'? (valid: ratio, topup)"),
        ("xyz", ["ratio"], "(valid: ratio)"),
        ("xyz", [], "(valid: none)"),
        (0, ["x", "y"], "(valid: x, y)"),
        ("rato", ["ratio", "_target_"], "did you mean 'ratio'? (valid: ratio)"),
        ("numbr_7", LONG, "did you mean 'number_7'?"),
        ("xyz", LONG, f"(valid: {', '.join(sorted(LONG))})"),
    ],
)
def test_the_hint_is_as_long_as_it_must_be(name, valid, hint):
    assert nearest(name, valid) == hint


def test_a_catalogue_is_never_listed():
    assert nearest("xyz", HUGE).count("model_") == 3


def test_no_other_module_makes_its_own():
    folder = Path(evax.__file__).parent
    users = [path.name for path in folder.rglob("*.py") if "difflib" in names(ast.parse(path.read_text()))]
    assert users == ["hints.py"]


def names(tree: ast.AST) -> set[str]:
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
