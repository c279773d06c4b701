"""A fine-tuned run leaves predictions, a report card, figures and a result, from its best checkpoint."""

import json

import numpy as np
import pandas as pd
import pytest
from composing import composed

from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.config import ConfigError
from evax.evaluation.predictions import ids_digest


def words(pack, *overrides):
    small = [
        "image_size=32",
        "batch_size=16",
        "trainer.max_epochs=2",
        "optim.warmup_epochs=0.0",
        "trainer.accelerator=cpu",
    ]
    return composed("experiment=demo_finetune", f"data.pack={pack}", *small, *overrides)


@pytest.fixture(scope="module")
def run(probe_pack, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run") / "run"
    train(words(probe_pack), run_dir)
    return run_dir, follow(run_dir)


def test_what_a_run_leaves(run):
    run_dir, metrics = run
    result, card = (json.loads((run_dir / name).read_text()) for name in ("results.json", "report_card.json"))
    assert metrics == {"test/auroc_macro": result["auroc_macro"]["value"]}
    assert result["auroc_macro"] == card["metrics"]["auroc"]["macro"]
    assert {path.stem for path in (run_dir / "figures").glob("*.png")} >= {"roc", "precision_recall", "calibration"}
    for split in ("val", "test"):
        table = pd.read_parquet(run_dir / "predictions" / f"{split}.parquet")
        assert table["image_id"].is_unique
        assert table.drop(columns="image_id").to_numpy().min() >= 0


def test_scores_are_those_of_the_best_checkpoint_and_repeat(run, probe_pack):
    run_dir, _ = run
    before = pd.read_parquet(run_dir / "predictions" / "test.parquet").drop(columns="image_id").to_numpy()
    follow(run_dir)
    after = pd.read_parquet(run_dir / "predictions" / "test.parquet").drop(columns="image_id").to_numpy()
    np.testing.assert_array_equal(before, after)


def test_clean_never_chooses_on_test_films(probe_pack, tmp_path):
    with pytest.raises(ConfigError, match="protocol=clean never chooses on test films"):
        train(words(probe_pack, "data.select_on=test"), tmp_path / "run")


def test_statistics_of_several_processes_need_gpus(probe_pack, tmp_path):
    shared = ["trainer.devices=2", "+trainer.sync_batchnorm=true"]
    with pytest.raises(ConfigError, match=r"sync_batchnorm=true is of GPUs only, and these are 2 processes on the CPU"):
        train(words(probe_pack, *shared), tmp_path / "run")


@pytest.mark.parametrize("recipe", ["code", "paper"])
def test_clean_has_no_recipe(recipe, probe_pack, tmp_path):
    with pytest.raises(ConfigError, match=f"recipe={recipe}: is of protocol=official"):
        train(words(probe_pack, f"recipe={recipe}"), tmp_path / "run")


def test_official_says_that_it_did_and_by_which_recipe(probe_pack, tmp_path, caplog):
    caplog.set_level("INFO")
    results = {}
    for recipe in (None, "paper"):
        words_of = ["protocol=official", "trainer.max_epochs=1", *([f"recipe={recipe}"] if recipe else [])]
        train(words(probe_pack, *words_of), tmp_path / str(recipe))
        follow(tmp_path / str(recipe))
        assert "chosen on the test films" in caplog.text
        results[recipe] = json.loads((tmp_path / str(recipe) / "results.json").read_text())
    assert [result["recipe"] for result in results.values()] == ["code", "paper"]
    assert results[None]["config_hash"] != results["paper"]["config_hash"]


def test_a_fraction_leaves_the_ids_of_its_films_and_a_control_says_what_it_is(probe_pack, tmp_path):
    few = ["data.fraction=0.5", "data.shuffle_labels=true", "data.sampling=balanced", "trainer.max_epochs=1"]
    train(words(probe_pack, *few), tmp_path / "run")
    follow(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "results.json").read_text())
    names = (tmp_path / "run" / "predictions" / "train.txt").read_text().split()
    assert len(names) == len(set(names)) == result["num_train"]
    assert ids_digest(np.array(names)) == result["train_ids_digest"]
    assert result["notes"] == ["control: the training films have each other's labels"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.fit_on=[train,val]", "data.fit_on holds val, on which protocol=clean chooses"),
        ("trainer.check_val_every_n_epoch=3", "check_val_every_n_epoch=3 is more than trainer.max_epochs=2"),
        ("model.loss=exclusive", "train films do not show exactly one of"),
        ("data.labels.findings=[Mass,Mass]", "names a class twice"),
        ("data.labels.findings=Mass", r"give a list, \[Mass\]"),
    ],
)
def test_what_could_not_be_scored_is_said_before_the_first_step(word, message, probe_pack, tmp_path):
    with pytest.raises(Exception, match=message):
        train(words(probe_pack, word), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_films_that_trained_choose_no_threshold(probe_pack, tmp_path):
    cfg = words(probe_pack, "protocol=official", "data.fit_on=[train,val]", "trainer.max_epochs=1")
    train(cfg, tmp_path / "run")
    follow(tmp_path / "run")
    result, card = (json.loads((tmp_path / "run" / name).read_text()) for name in ("results.json", "report_card.json"))
    assert result["notes"] == ["the val films trained, too: there are no thresholds and no temperature"]
    assert {*card["thresholds"].values(), *card["temperature"].values()} == {None}
