"""What follows a run, and what ends a multirun."""

import json

import pytest
from composing import composed
from omegaconf import OmegaConf

from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.commands.train.sweep import SweepTable
from evax.config import ConfigError

QUICK = ("then.repeats=1", "then.draws=20", "then.min_positives=2", "then.readouts=[pooled]", "then.strengths=[0.01]")


def run(probe_pack, run_dir, *overrides):
    small = ["debug=one_step", "image_size=32", f"data.pack={probe_pack}", "~callbacks.feature_probe"]
    train(composed("experiment=demo_pretrain", *small, *overrides), run_dir)
    return run_dir


def test_a_probe_before_and_after_follows_where_it_was_asked_for(probe_pack, tmp_path):
    run_dir = run(probe_pack, tmp_path / "run", "then=probe", *QUICK)
    metrics = follow(run_dir)
    result = json.loads((run_dir / "evaluation" / "backbone" / "results.json").read_text())
    assert [comparison["rival"] for comparison in result["comparisons"]] == ["random"]
    assert metrics == {"test/auroc_macro": result["auroc_macro"]["value"]}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("then.readouts=[poled]", r"then.readouts: there is no 'poled'; did you mean 'pooled'"),
        ("then.min_positives=1000", "then.min_positives=1000: no finding has as many in train and in test"),
        ("then.strengths=[0]", r"then.strengths=\[0\]: give numbers above 0"),
        ("then.draws=0", "then.draws=0: give a whole number above 0"),
    ],
)
def test_what_cannot_follow_is_said_before_the_first_step(word, message, probe_pack, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run(probe_pack, tmp_path / "run", "then=probe", word)
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_else_nothing_follows(probe_pack, tmp_path):
    run_dir = run(probe_pack, tmp_path / "run")
    assert follow(run_dir) == {}
    assert not (run_dir / "evaluation").exists()


@pytest.mark.parametrize("error", [None, "masking.ratio is 2"])
def test_a_multirun_ends_in_a_table_and_fails_if_a_job_did(error, tmp_path):
    for number, failure in enumerate([None, error]):
        (tmp_path / str(number)).mkdir()
        state = "failed" if failure else "finished"
        content = {"overrides": [f"masking.ratio=0.{number}"], "state": state, "error": failure}
        (tmp_path / str(number) / "job.json").write_text(json.dumps(content))
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}, "sweep": None})
    if error:
        with pytest.raises(SystemExit) as stop:
            SweepTable().on_multirun_end(config)
        assert stop.value.code == 1
    else:
        SweepTable().on_multirun_end(config)
    assert "masking.ratio" in (tmp_path / "sweep.md").read_text()
