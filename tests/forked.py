"""Processes that begin with everything imported: most of the time of a tiny run is its imports.

They are forked from a server that has imported what `train.py` needs, and run the script as Python would.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from subprocess import TimeoutExpired

IMPORTED = ("evax.commands.train.command", "evax.commands.train.follow", "evax.commands.train.plan")


def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


SERVER = _server()


class Forked:
    """A script that runs in a session of its own; what tests need of `subprocess.Popen`."""

    def __init__(self, words: list[str], folder: Path, environment: Mapping[str, str]) -> None:
        handle, self._output = tempfile.mkstemp(suffix=".txt")
        os.close(handle)
        self._process = SERVER.Process(target=_run, args=(words, str(folder), dict(environment), self._output))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        while os.getpgid(self.pid) != self.pid and self._process.is_alive():
            time.sleep(0.001)  # before that, the group is the server's

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired("a forked run", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, None]:
        """Wait for the end, and return what was printed."""
        self.wait(timeout)
        return Path(self._output).read_bytes(), None


def _run(words: list[str], folder: str, environment: Mapping[str, str], output: str) -> None:
    os.setsid()
    printed = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(printed, stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words[1:]
    sys.path.insert(0, str(Path(words[1]).parent))
    runpy.run_path(words[1], run_name="__main__")
