import csv
import math
import multiprocessing
import time

import pytest
from endless_metrics import write_forever

from evax.callbacks import MetricsCsv


@pytest.fixture
def table(tmp_path):
    return MetricsCsv(tmp_path)


def text_of(table) -> list[str]:
    return table.path.read_text().splitlines()


def test_every_step_has_one_row_in_step_order(table):
    for step in (1, 2, 5):
        table.log_metrics({"train/loss": step / 2}, step)
    assert text_of(table) == ["step,train/loss", "1,0.5", "2,1.0", "5,2.5"]


def test_metrics_of_the_same_step_share_a_row(table):
    table.log_metrics({"train/loss": 0.5}, 1)
    table.log_metrics({"val/loss": 0.25}, 1)
    table.log_metrics({"train/loss": 0.125}, 2)
    assert text_of(table) == ["step,train/loss,val/loss", "1,0.5,0.25", "2,0.125,"]


def test_a_metric_given_twice_keeps_the_newer_value(table):
    table.log_metrics({"a": 123456.0, "b": 1.0}, 1)
    table.log_metrics({"a": 1.0}, 1)
    assert text_of(table) == ["step,a,b", "1,1.0,1.0"]


def test_a_new_column_leaves_older_rows_empty(table):
    table.log_metrics({"a": 1.0}, 1)
    table.log_metrics({"b": 2.0}, 2)
    assert table.rows() == [{"step": "1", "a": "1.0", "b": ""}, {"step": "2", "a": "", "b": "2.0"}]


def test_numbers_survive_exactly(table):
    values = {"third": 1 / 3, "tiny": 5e-324, "nan": math.nan, "infinite": -math.inf}
    table.log_metrics(values, 1)
    read = {name: float(table.rows()[0][name]) for name in values}
    assert repr(read) == repr(values)


def test_an_older_step_is_refused(table):
    table.log_metrics({"a": 1.0}, 5)
    with pytest.raises(ValueError, match="step 4 came after those of step 5"):
        table.log_metrics({"a": 1.0}, 4)
    assert [row["step"] for row in table.rows()] == ["5"]


def test_metrics_without_a_step_are_refused(table):
    with pytest.raises(ValueError, match="need the optimizer step"):
        table.log_metrics({"a": 1.0})


@pytest.mark.parametrize("kept", [0, 1, 3, 4, 6])
def test_a_resumed_run_writes_the_same_table(tmp_path, kept):
    def write(table, steps):
        for step in steps:
            table.log_metrics({"train/loss": step / 2}, step)
            if step % 2 == 0:
                table.log_metrics({"val/loss": step / 4}, step)

    whole, cut = MetricsCsv(tmp_path / "whole"), MetricsCsv(tmp_path / "cut")
    for one in (whole, cut):
        one.path.parent.mkdir()
        write(one, range(1, 7))
    resumed = MetricsCsv(tmp_path / "cut")
    resumed.rewind(kept)
    write(resumed, range(kept + 1, 10))
    write(whole, range(7, 10))
    assert text_of(resumed) == text_of(whole)


def test_the_row_of_the_resumed_step_may_still_grow(table):
    table.log_metrics({"a": 1.0}, 1)
    table.log_metrics({"a": 2.0}, 2)
    resumed = MetricsCsv(table.path.parent)
    resumed.rewind(1)
    resumed.log_metrics({"b": 3.0}, 1)
    resumed.log_metrics({"a": 4.0}, 2)
    assert text_of(resumed) == ["step,a,b", "1,1.0,3.0", "2,4.0,"]


def test_rewinding_without_a_table_is_nothing(table):
    table.rewind(5)
    assert table.rows() == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # the child only writes a file
def test_a_killed_writer_leaves_a_table_that_goes_on(tmp_path):
    context = multiprocessing.get_context("fork")
    path, steps_before = tmp_path / "metrics.csv", 0
    for kill in range(8):
        writer = context.Process(target=write_forever, args=(tmp_path,), daemon=True)
        writer.start()
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_bytes().count(b"\n") > steps_before + 60):
            assert writer.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(0.003 * kill)
        writer.kill()
        writer.join()
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
        assert all(float(row["train/loss"]) == int(row["step"]) for row in rows)
        assert all(len(row) == len(rows[0]) and None not in row.values() for row in rows)
        steps_before = len(rows)
