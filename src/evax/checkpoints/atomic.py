"""Checkpoint files that appear whole or not at all, with failures in one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evax.data import atomic

FULL = (errno.ENOSPC, errno.EDQUOT)


class CheckpointWriteError(Exception):
    """A file could not be written; what was there before is unchanged."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """`evax.data.atomic.replacing` for a folder that killed writers may have left files in.

    Makes the folder, removes leftovers, and raises CheckpointWriteError naming `path` and the cause.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".*{path.suffix}.tmp"):
            leftover.unlink(missing_ok=True)
        with atomic.replacing(path) as temporary:
            yield temporary
    except Exception as error:
        cause = f"cannot write {path}: {_cause(error)}; the file that was there before is unchanged"
        raise CheckpointWriteError(cause) from error


def _cause(error: BaseException) -> str:
    """One line; a full disk reaches us as a RuntimeError of torch's zip writer that hides the OSError."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno in FULL:
            return "the disk is full"
        link = link.__cause__ or link.__context__
    return first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
