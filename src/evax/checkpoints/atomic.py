"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


class CheckpointWriteError(Exception):
    """A file could not be written; what was there before is unchanged."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path of a temporary neighbour of `path` that takes its place if the block ends without an error.

    The neighbour is on the same file system (a rename is atomic only there) and on disk before the rename.
    Leftovers of killed writers are removed first. Raises CheckpointWriteError naming `path` and the cause.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".*{path.suffix}.tmp"):
            leftover.unlink(missing_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        with suppress(OSError):  # some network file systems cannot sync a folder
            _sync(path.parent)
    except Exception as error:
        cause = f"cannot write {path}: {_cause(error)}; the file that was there before is unchanged"
        raise CheckpointWriteError(cause) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
