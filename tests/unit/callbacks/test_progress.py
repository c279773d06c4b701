import io
import logging
import re
from datetime import datetime
from unittest.mock import create_autospec

import pytest
from lightning.pytorch import Trainer
from rich.console import Console
from tiny import tiny_data, tiny_task, tiny_trainer

from evax.callbacks import Progress
from evax.callbacks.progress import TELLING, Pace, end_told

NOON = datetime(2026, 11, 29, 12, 0)


class Watched(Progress):
    """Remembers what it showed."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.shown = []

    def get_metrics(self, trainer, pl_module):
        self.shown.append(super().get_metrics(trainer, pl_module))
        return dict(self.shown[-1])


@pytest.fixture
def fitted(pack_folder, tmp_path, caplog):
    """Trains a tiny student for some epochs of 11 steps, and returns the logged lines."""

    def fit(bar, max_epochs=2):
        trainer = tiny_trainer(tmp_path, max_epochs=max_epochs, enable_progress_bar=True, callbacks=[bar])
        with caplog.at_level(logging.INFO, logger="evax"):
            trainer.fit(tiny_task(), tiny_data(pack_folder, batch_size=4))
        return [record.getMessage() for record in caplog.records if record.name == "evax.callbacks.progress"]

    return fit


def test_loss_agreement_and_speed_are_shown(fitted):
    bar = Watched(seconds=0.0)
    fitted(bar)
    assert set(bar.shown[-1]) == {"train/loss", "val/cosine_excess", "images/s"}
    assert float(bar.shown[-1]["images/s"]) > 0


def test_without_a_terminal_lines_say_how_far_the_run_is(fitted):
    lines = [line for line in fitted(Progress(seconds=0.0)) if line.startswith("epoch")]
    assert len(lines) == 22
    assert lines[0].startswith("epoch 1/2, step 1/22, ")
    assert lines[-1].startswith("epoch 2/2, step 22/22, 0 s left, ")
    assert " images/s, loss 0." in lines[-1]
    assert ", val " in lines[-1]


def test_lines_come_seldom_and_the_end_is_told_after_20_steps(fitted):
    (line,) = fitted(Progress(seconds=1e9))
    assert line.startswith(f"{TELLING} of 22 steps; ends about ")
    assert line.endswith("validation not counted")


def test_other_ranks_are_silent(fitted):
    bar = Progress(seconds=0.0)
    bar.disable()
    assert fitted(bar) == []


def test_on_a_terminal_a_bar_of_80_columns_shows_the_whole_run(fitted, monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, force_interactive=True, color_system=None)
    monkeypatch.setattr("evax.callbacks.progress.Console", lambda **_: console)
    drawn = []
    monkeypatch.setattr(Progress, "teardown", teardown_after(drawn, console, Progress.teardown))
    fitted(Progress())
    (text,) = [each for each in drawn if each]
    assert "epoch 2/2" in text
    assert "22/22, 0 s left, " in text
    assert all(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line)) <= 80 for line in text.splitlines())
    assert "…" not in text


def teardown_after(drawn, console, teardown):
    """Ends a bar, after its last state was drawn as text."""

    def wrapped(self, *arguments, **named):
        if self._bar is not None:
            with console.capture() as capture:
                console.print(self._bar.get_renderable())
            drawn.append(capture.get())
        teardown(self, *arguments, **named)

    return wrapped


def test_speed_counts_the_images_of_all_ranks_since_the_epoch_began(monkeypatch):
    bar = Progress()
    bar._images, bar._since = 80, 100.0
    monkeypatch.setattr("evax.callbacks.progress.time.perf_counter", lambda: 104.0)
    trainer, task = create_autospec(Trainer, instance=True), tiny_task()
    task.latest = {"train/loss": 0.12345}
    assert bar.get_metrics(trainer, task) == {"train/loss": "0.123", "images/s": "20"}


def test_time_left_is_that_of_the_steps_after_the_warm_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("evax.callbacks.progress.time.perf_counter", lambda: now[0])
    pace = Pace(first=100, total=200)
    for step, moment in ((101, 50.0), (104, 90.0), (106, 94.0)):
        now[0] = moment
        pace.advance(step)
        if step < 106:
            assert pace.remaining() is None
    assert pace.remaining() == pytest.approx(2.0 * 94)
    pace.leave()
    now[0] += 10
    pace.come_back()
    assert pace.remaining(with_validation=False) == pytest.approx(2.0 * 94)
    assert pace.remaining() == pytest.approx(7.0 * 94)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (90.0, "ends about 12:01 (in 90 s)"),
        (2520.0, "ends about 12:42 (in 42 min)"),
        (12 * 3600.0, "ends about Mon 30 Nov 00:00 (in 12 h 0 min)"),
        (3 * 86400.0, "ends about Wed 02 Dec 12:00 (in 72 h 0 min)"),
    ],
)
def test_the_end_is_a_time_of_day_and_a_span(seconds, told):
    assert end_told(20, 1234, seconds, NOON) == f"20 of 1,234 steps; {told}, validation not counted"
