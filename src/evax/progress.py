"""What a long step shows while it lasts: its name, how far it is and the time left. A short step shows nothing."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from types import TracebackType
from typing import Any, TypeVar

log = logging.getLogger(__name__)

QUIET = 5.0  # seconds in which a step shows nothing
LONGEST = 60.0  # seconds between two lines of a log file, at most; the first ones come closer

Item = TypeVar("Item")


class Step:
    """A step of `total` equal parts, used as a context; `advance` tells that parts are done.

    On a terminal a bar appears after `QUIET` seconds and goes when the step ends. In a pipe or log file plain lines
    take its place, and a last one says how long the step took. Nothing is shown where INFO is not logged, and no
    result depends on it. `bar=False` gives lines on a terminal too, for steps under another bar.
    """

    def __init__(self, name: str, total: int, *, bar: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self.total, self.done = name, total, 0
        self._clock, self._start = clock, clock()
        self._next, self._wait = self._start + QUIET, QUIET
        self._has_bar = bar and sys.stderr.isatty()
        self._bar: Any = nullcontext()

    def __enter__(self) -> "Step":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        taken = self._clock() - self._start
        if kind is None and taken >= QUIET and not self._has_bar:
            log.info("%s: done in %s", self.name, duration(taken))

    def advance(self, parts: int = 1) -> None:
        """Count parts that are done, and show it where it is time."""
        self.done += parts
        now = self._clock()
        if now < self._next or self.done >= self.total or not log.isEnabledFor(logging.INFO):
            return
        if self._has_bar:
            self._show_bar()
            return
        self._next, self._wait = now + self._wait, min(2 * self._wait, LONGEST)
        left = (now - self._start) * (self.total - self.done) / max(self.done, 1)
        known = f", about {duration(left)} left" if self.done else ""
        log.info("%s: %d of %d%s", self.name, self.done, self.total, known)

    def alive(self) -> None:
        """Show it where it is time while a long part goes on."""
        self.advance(0)

    def _show_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if not isinstance(self._bar, Progress):
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=2)
            self._bar.__enter__()
            self._bar.add_task(self.name, total=self.total)
        self._bar.update(self._bar.task_ids[0], completed=self.done)


def tracked(items: Iterable[Item], name: str, total: int, *, bar: bool = True) -> Iterator[Item]:
    """The items, counted as the parts of a `Step`."""
    with Step(name, total, bar=bar) as step:
        for item in items:
            yield item
            step.advance()


def duration(seconds: float) -> str:
    """Such as 40 s, 12 min or 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
