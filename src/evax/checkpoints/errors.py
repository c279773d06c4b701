"""What is raised for a weight file; without torch, so that a command can catch it before there is need of torch."""

from collections.abc import Sequence

NUM_NAMED = 3  # names quoted in a message


class WeightsError(Exception):
    """A file is not usable as weights; one line that names the file, the first names in it and the fix."""


def quote(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(names[:NUM_NAMED]) + more
