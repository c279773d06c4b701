"""The table of a multirun."""

import json
import os
import socket

import pytest
from PIL import Image
from result_content import content

from evax.report.__main__ import main
from evax.report.sweep import SweepError, read_jobs, write_sweep

METRICS = "step,trainer/samples_seen,val/cosine_excess\n0,0,\n1,8,0.1\n2,16,0.25\n"


PAPER = [["0.4", "best"], ["0.2", None]]


def job(folder, number, *overrides, error=None, macro=None, state=None, paper=(), **place):
    where = folder / str(number)
    where.mkdir(parents=True)
    record = {"overrides": list(overrides), "axis": "masking.ratio", "paper": paper, "error": error, **place}
    record["state"] = state or ("failed" if error else "finished")
    (where / "job.json").write_text(json.dumps(record))
    if error:
        return
    (where / "metrics.csv").write_text(METRICS)
    if macro is not None:
        gain = {"rival": "random", "auroc_macro": {"value": 0.05, "low": -0.01, "high": 0.09}}
        result = where / "evaluation" / "backbone" / "results.json"
        result.parent.mkdir(parents=True)
        result.write_text(json.dumps(content("backbone", macro, comparisons=[gain])))


def written(folder):
    return write_sweep(folder, read_jobs(folder))


@pytest.fixture
def folder(tmp_path):
    job(tmp_path, 10, "masking.ratio=0.4", "experiment=a", macro=0.8)
    job(tmp_path, 2, "masking.ratio=0.2", "experiment=a", macro=0.7)
    job(tmp_path, 11, "masking.ratio=2", "experiment=a", error="masking.ratio is 2")
    (tmp_path / "0").mkdir()  # a job that was never started
    return tmp_path


def test_a_row_a_job_in_their_order_with_what_varied(folder):
    lines = written(folder).splitlines()
    assert lines[0].split(" | ")[:2] == ["| job", "masking.ratio"]
    assert "experiment" not in lines[0]
    assert [line.split()[1] for line in lines[2:4]] == ["2", "10"]
    assert "0.800 [0.750, 0.850]" in lines[3]
    assert "0.050 [-0.010, 0.090]" in lines[3]
    assert "0.250" in lines[3]  # the newest value of metrics.csv


def test_a_score_that_is_not_over_all_findings_says_so(folder):
    nothing = dict.fromkeys(("value", "low", "high"))
    for number in (2, 10):
        file = folder / str(number) / "evaluation" / "backbone" / "results.json"
        item = json.loads(file.read_text())
        item["auroc"]["Pneumonia"] = nothing
        file.write_text(json.dumps(item | {"not_scored": {"Pneumonia": "no negative test images"}}))
    text = written(folder)
    assert "0.800 [0.750, 0.850] (1 of 2 findings)" in text
    assert "jobs 2, 10: probe macro AUROC: 1 of 2 findings; Pneumonia: no negative test images" in text


def test_a_failed_job_is_named_and_not_in_the_table(folder):
    text = written(folder)
    assert "job 11 (masking.ratio=2) failed: masking.ratio is 2" in text
    assert "| 11" not in text


def test_the_papers_word_stands_beside_ours(tmp_path):
    job(tmp_path, 0, "masking.ratio=0.2", paper=PAPER)
    job(tmp_path, 1, "masking.ratio=0.4", paper=PAPER)
    lines = written(tmp_path).splitlines()
    assert [line.split("|")[-2].strip() for line in lines] == ["paper", "-" * 5, "", "best"]


GONE = 2**22 + 1  # above every process id of Linux


@pytest.mark.parametrize(
    ("state", "pid", "shown"),
    [("running", os.getpid(), "running"), ("running", GONE, "stopped"), ("stopped", GONE, "stopped")],
    ids=["running", "killed", "stopped"],
)
def test_a_job_that_did_not_end_says_so_and_shows_no_scores(state, pid, shown, tmp_path):
    job(tmp_path, 0, "seed=0")
    job(tmp_path, 1, "seed=1", state=state, host=socket.gethostname(), pid=pid)
    lines = written(tmp_path).splitlines()
    assert [line.split("|")[-2].strip() for line in lines[2:]] == ["finished", shown]
    assert "0.250" in lines[2]
    assert "0.250" not in lines[3]


def test_a_job_on_another_machine_tells_for_how_long_it_was_silent(tmp_path):
    job(tmp_path, 0, "seed=0", state="running", host="elsewhere", pid=1)
    assert "running on elsewhere, silent for 0 min" in written(tmp_path)


def test_at_the_end_nothing_runs_any_more(tmp_path):
    job(tmp_path, 0, "seed=0", state="running", host="elsewhere", pid=1)
    job(tmp_path, 1, "seed=1", state="submitted")
    assert [each.state for each in read_jobs(tmp_path, have_ended=True)] == ["stopped", "stopped"]


def test_the_plot_is_the_same_twice_and_not_blank(folder):
    written(folder)
    before = (folder / "sweep.png").read_bytes()
    written(folder)
    assert (folder / "sweep.png").read_bytes() == before
    with Image.open(folder / "sweep.png") as image:
        assert len(image.convert("L").getcolors()) > 20


def test_a_job_without_scores_has_empty_cells(folder):
    job(folder, 12, "masking.ratio=0.3", "experiment=a")
    assert "| 12  | 0.3           |                      |" in written(folder)


def test_a_folder_without_jobs_is_named(tmp_path, capsys):
    with pytest.raises(SweepError, match="holds no jobs of a multirun"):
        read_jobs(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(tmp_path)])
    assert stop.value.code == 2
    assert "holds no jobs" in capsys.readouterr().err
