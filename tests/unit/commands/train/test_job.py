"""What a job of a multirun leaves in its folder."""

import json
from types import SimpleNamespace

import pytest
from composing import composed

from evax.commands.train.job import SUBMITTED, is_finished, recorded
from evax.config import ConfigError


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The folder of a job, as Hydra would name it."""
    runtime, overrides = SimpleNamespace(output_dir=str(tmp_path / "3")), SimpleNamespace(task=["masking.ratio=0.4"])
    monkeypatch.setattr(
        "evax.commands.train.job.multirun_job", lambda: SimpleNamespace(runtime=runtime, overrides=overrides)
    )
    return tmp_path / "3"


def record(folder) -> dict:
    return json.loads((folder / "job.json").read_text())


def test_a_job_says_at_its_start_that_it_runs_and_what_the_multirun_is_about(job):
    cfg = composed("sweep=mask_ratio")
    with recorded(cfg):
        begun = record(job)
    assert (begun["state"], begun["error"], begun["overrides"]) == ("running", None, ["masking.ratio=0.4"])
    assert (begun["axis"], begun["paper"]) == ("masking.ratio", [list(pair) for pair in cfg.sweep.paper])
    assert record(job)["state"] == "finished"


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (("experiment=finetune_cxr14_vit_s", "protocol=official"), ["1.0"]),
        (("experiment=finetune_covidx3_vit_s", "protocol=official"), ["0.01", "1.0"]),
        (("experiment=finetune_covidx4_vit_s", "protocol=official"), ["0.01", "1.0"]),
        (("experiment=finetune_cxr14_vit_s",), []),
        (("experiment=finetune_cxr14_vit_b", "protocol=official"), []),
        (("experiment=finetune_cxr14_vit_s", "protocol=official", "backbone=eva_x_tiny"), []),
        (("experiment=finetune_cxr14_vit_s", "protocol=official", "data=phantom"), []),
        (("experiment=finetune_cxr14_vit_s", "protocol=official", "adapt=linear"), []),
        (("experiment=finetune_cxr14_vit_s", "protocol=official", "weights=null"), []),
        (("experiment=finetune_covidx3_vit_s", "protocol=official", "recipe=code"), ["0.01", "1.0"]),
        (("experiment=finetune_covidx3_vit_s", "protocol=official", "recipe=paper"), []),
        (("experiment=sample_finetune",), []),
    ],
)
def test_published_numbers_stand_beside_runs_of_their_kind_alone(words, values, job):
    with recorded(composed("sweep=labels", "weights=file.pth", *words)):
        assert [value for value, _ in record(job)["paper"]] == values


def test_a_failed_job_keeps_its_error(job):
    with pytest.raises(ConfigError), recorded(composed()):
        raise ConfigError("masking.ratio is 2")
    assert (record(job)["state"], record(job)["error"]) == ("failed", "masking.ratio is 2")


def test_a_job_that_is_told_to_stop_says_so(job):
    with pytest.raises(SystemExit), recorded(composed()):
        raise SystemExit(143)
    assert record(job)["state"] == "stopped"


def test_a_job_may_leave_the_work_to_a_cluster(job):
    with recorded(composed()) as outcome:
        outcome["state"] = SUBMITTED
    assert record(job)["state"] == "submitted"


def test_a_job_repaired_by_resume_is_finished_and_forgets_its_error(tmp_path):
    failed = {"overrides": ["seed=1"], "axis": "seed", "paper": [], "state": "failed", "error": "the disk is full"}
    (tmp_path / "job.json").write_text(json.dumps(failed))
    with recorded(composed(f"resume={tmp_path}")):
        assert record(tmp_path)["state"] == "running"
    repaired = record(tmp_path)
    assert (repaired["state"], repaired["error"]) == ("finished", None)
    assert (repaired["overrides"], repaired["axis"]) == (["seed=1"], "seed")


def test_a_run_that_is_no_job_leaves_no_record(tmp_path):
    with recorded(composed(f"resume={tmp_path}")):
        pass
    assert not list(tmp_path.iterdir())


def test_a_finished_job_is_known_when_the_multirun_is_started_again(job):
    assert not is_finished()
    with recorded(composed()):
        assert not is_finished()
    assert is_finished()
    content = record(job) | {"overrides": ["masking.ratio=0.3"]}
    (job / "job.json").write_text(json.dumps(content))
    assert not is_finished()
