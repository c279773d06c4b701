"""What a misspelt name was meant to be."""

import difflib
from collections.abc import Iterable
from typing import Any

LONG_LIST, CATALOGUE = 20, 100  # names: shown whole without a close match; never shown whole
NUM_NEAREST = 3


def nearest(name: Any, valid: Iterable[Any]) -> str:
    """A hint such as "did you mean 'ratio'? (valid: ratio, topup)"; a long list gives way to a close match."""
    name = str(name)  # YAML reads some names as numbers
    options = sorted({str(option) for option in valid if not str(option).startswith("_")})
    close = difflib.get_close_matches(name, options, n=1)
    if close and len(options) > LONG_LIST:
        return f"did you mean '{close[0]}'?"
    if len(options) > CATALOGUE:
        return f"the nearest are {', '.join(difflib.get_close_matches(name, options, n=NUM_NEAREST, cutoff=0.0))}"
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}(valid: {', '.join(options) or 'none'})"
