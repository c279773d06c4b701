"""The probe study as a command."""

import json

import pytest
import torch
from composing import composed
from lightning.pytorch import seed_everything

from evax.config import ConfigError, instantiate
from evax.report.record import Result
from evax.run import settled, train
from evax.run_evaluate import build_backbone, evaluate


def study(probe_pack, *overrides):
    return composed(f"data.pack={probe_pack}", "repeats=1", "draws=50", "min_positives=2", *overrides, root="evaluate")


def test_floors_write_a_result_that_the_report_reads(probe_pack, tmp_path):
    evaluate(study(probe_pack, "features=view"), tmp_path / "view")
    folder = tmp_path / "pixels"
    evaluate(study(probe_pack, "features=pixels", f"against=[{tmp_path / 'view'}]"), folder)

    result = Result.from_json((folder / "results.json").read_text(), "results.json")
    assert result.method == "pixels"
    assert result.comparisons[0].rival == "view"
    assert "macro minus view" in (folder / "summary.txt").read_text()
    assert json.loads((folder / "results.json").read_text())["data"] == "phantom/official"


def test_a_run_is_probed_before_and_after_training(probe_pack, tmp_path):
    run_dir = tmp_path / "run"
    small = ["debug=one_step", "image_size=32", f"data.pack={probe_pack}", "~callbacks.feature_probe"]
    train(composed("experiment=demo_pretrain", *small), run_dir)

    for features in ("random", "backbone"):
        evaluate(study(probe_pack, f"run={run_dir}", f"features={features}"), tmp_path / "unused")

    scores = [
        json.loads((run_dir / "evaluation" / name / "results.json").read_text()) for name in ("random", "backbone")
    ]
    assert scores[0]["test_ids_digest"] == scores[1]["test_ids_digest"]
    assert scores[0]["trials"] != scores[1]["trials"]  # one step has moved the weights


def test_random_features_are_those_of_the_run_before_its_first_step():
    saved = settled(composed("experiment=demo_pretrain"))
    seed_everything(saved.seed, verbose=False)
    before = instantiate(saved.model).backbone.state_dict()
    random = build_backbone(saved, None).state_dict()
    assert all(torch.equal(random[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["precision=bf16"], "precision=bf16 is not known; choose one of 32-true, bf16-mixed, auto"),
        (["features=pixel"], "features=pixel is not known"),
        (["features=backbone"], "features=backbone needs run=RUN_DIR"),
        (["features=view", "run=nowhere"], "run=nowhere: there is no config.yaml"),
        (["features=view", "min_positives=1000"], "min_positives=1000: no finding has as many"),
        (["features=view", "against=[nowhere]"], "against=nowhere: there is no predictions.parquet"),
    ],
)
def test_mistakes_are_named(words, message, probe_pack, tmp_path):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        evaluate(study(probe_pack, *words), tmp_path / "out")
