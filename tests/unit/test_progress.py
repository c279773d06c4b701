"""What long steps show, by a clock that the test sets."""

import logging
import sys

import pytest

from evax import progress
from evax.progress import Step, duration, tracked


class Clock:
    """Seconds that only the test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def run(clock, step, seconds, parts):
    """Lead a step through parts that take so many seconds each."""
    with step:
        for _ in range(parts):
            clock.now += seconds
            step.advance()


def test_short_step_shows_nothing(clock, caplog):
    caplog.set_level(logging.INFO)
    run(clock, Step("reading images", 4, clock=clock), 1.2, 4)
    assert not caplog.messages


def test_long_step_tells_how_far_it_is_and_the_time_left(clock, caplog):
    caplog.set_level(logging.INFO)
    run(clock, Step("reading images", 4, clock=clock), 6, 4)
    assert caplog.messages == [
        "reading images: 1 of 4, about 18 s left",
        "reading images: 2 of 4, about 12 s left",
        "reading images: done in 24 s",
    ]


def test_long_part_shows_that_it_goes_on(clock, caplog):
    caplog.set_level(logging.INFO)
    with Step("folds", 3, clock=clock) as step:
        clock.now += 6
        step.alive()
    assert caplog.messages == ["folds: 0 of 3", "folds: done in 6 s"]


def test_lines_of_a_very_long_step_are_few(clock, caplog):
    caplog.set_level(logging.INFO)
    run(clock, Step("folds", 36_000, clock=clock), 1, 36_000)
    assert 500 < len(caplog.messages) < 700
    assert caplog.messages[-1] == "folds: done in 10 h 0 min"


def test_where_nothing_is_logged_nothing_is_shown(clock, caplog, capfd):
    caplog.set_level(logging.WARNING)
    run(clock, Step("folds", 3, clock=clock), 60, 3)
    assert not caplog.messages
    assert capfd.readouterr() == ("", "")


def test_terminal_gets_a_bar_that_goes(clock, caplog, capsys, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(clock, Step("folds", 3, clock=clock), 60, 3)
    assert not caplog.messages
    assert "folds" in capsys.readouterr().err
    run(clock, Step("folds", 3, clock=clock, bar=False), 60, 3)
    assert caplog.messages == [
        "folds: 1 of 3, about 2 min left",
        "folds: 2 of 3, about 60 s left",
        "folds: done in 3 min",
    ]


def test_failure_passes_and_is_no_end(clock, caplog):
    caplog.set_level(logging.INFO)
    step = Step("folds", 3, clock=clock)
    clock.now += 10
    step.advance()
    assert step.__exit__(RuntimeError, RuntimeError("broken"), None) is None
    assert caplog.messages == ["folds: 1 of 3, about 20 s left"]


def test_tracked_items_are_the_items(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "QUIET", 0.0)
    assert list(tracked(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert caplog.messages[0].startswith("letters: 1 of 3, about")
    assert caplog.messages[-1] == "letters: done in 0 s"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (99.0, "99 s"), (100.0, "2 min"), (5900.0, "98 min"), (12e3, "3 h 20 min")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words
