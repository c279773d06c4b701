"""Two classifiers' runs, or several under other seeds, on the same test films."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from composing import composed
from omegaconf import OmegaConf

from evax.commands.evaluate.compare import compare
from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.config import ConfigError


@pytest.fixture(scope="module")
def runs(probe_pack, tmp_path_factory):
    """A run of one epoch, and two whose scores of positive films are raised."""
    folder = tmp_path_factory.mktemp("runs")
    small = ("image_size=32", "batch_size=16", "trainer.accelerator=cpu")
    short = ("trainer.max_epochs=1", "optim.warmup_epochs=0.0")
    train(composed("experiment=demo_finetune", f"data.pack={probe_pack}", *small, *short), folder / "plain")
    follow(folder / "plain")
    for name in ("better", "best"):
        shutil.copytree(folder / "plain", folder / name)
        rename(folder / name, name)
    return folder


def rename(run_dir, name, **changes):
    content = json.loads((run_dir / "results.json").read_text()) | {"name": name} | changes
    (run_dir / "results.json").write_text(json.dumps(content))


def copied(runs, run_dir, key, value):
    """A copy of a run whose saved settings differ in one key."""
    shutil.copytree(runs / "plain", run_dir)
    settings = OmegaConf.load(run_dir / "config.yaml")
    OmegaConf.update(settings, key, value)
    OmegaConf.save(settings, run_dir / "config.yaml")


def rescore(run_dir, change):
    file = run_dir / "predictions" / "test.parquet"
    table = pd.read_parquet(file)
    columns = table.columns[1:]
    table[columns] = change(table[columns].to_numpy())
    table.to_parquet(file, index=False)


def written(folder, compared, *words):
    cfg = composed(f"compare={compared}", "draws=50", root="evaluate")
    compare(cfg, folder, [f"compare={compared}", *words])
    return json.loads((folder / "comparison.json").read_text())


def test_a_run_equals_itself(runs, tmp_path):
    found = written(tmp_path, f"[{runs}/plain,{runs}/better]")
    assert (found["name"], found["rival"]) == ("demo_finetune", "better")
    assert found["auroc_macro"][0] == found["auroc_macro"][1]
    assert found["difference"]["macro"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert all(one == other for one, other in found["scores"].values())
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"comparison.png", "radar.png"}


def test_reversed_scores_are_worse_and_runs_over_seeds_count_by_their_mean(runs, tmp_path):
    shutil.copytree(runs / "plain", tmp_path / "reversed")
    rescore(tmp_path / "reversed", lambda scores: 1 - scores)
    one = written(tmp_path / "one", f"[{runs}/plain,{tmp_path}/reversed]")["difference"]["macro"]["value"]
    several = written(tmp_path / "all", f"[[{runs}/plain,{runs}/best],[{tmp_path}/reversed,{runs}/better]]")
    assert several["num_runs"] == [2, 2]
    assert several["delong"] == {}
    np.testing.assert_allclose(several["difference"]["macro"]["value"], one / 2)


@pytest.mark.parametrize(
    ("compared", "message"),
    [
        ("[{runs}/plain]", "compare=.*give two runs"),
        ("[{runs}/plain,{runs}/none]", "compare=.*none: there is no results.json; name a classifier's run"),
        ("[[],{runs}/plain]", "a list of runs is empty"),
    ],
)
def test_other_forms_are_refused(compared, message, runs, tmp_path):
    with pytest.raises(ConfigError, match=message):
        written(tmp_path, compared.format(runs=runs))


def test_other_words_are_refused(runs, tmp_path):
    with pytest.raises(ConfigError, match=r"features=random: compare= reads what was scored before"):
        written(tmp_path, f"[{runs}/plain,{runs}/best]", "features=random")


@pytest.mark.parametrize("names", ["[ours]", "[1,2]"])
def test_two_names_are_given_or_none(names, runs, tmp_path):
    cfg = composed(f"compare=[{runs}/plain,{runs}/best]", f"names={names}", root="evaluate")
    with pytest.raises(ConfigError, match=r"give two, names=\[A,B\]"):
        compare(cfg, tmp_path)


def test_other_films_and_protocols_are_refused(runs, tmp_path):
    shutil.copytree(runs / "plain", tmp_path / "other")
    rename(tmp_path / "other", "other", test_ids_digest="0")
    with pytest.raises(ConfigError, match="other: it scored other test films"):
        written(tmp_path / "out", f"[{runs}/plain,{tmp_path}/other]")
    shutil.copytree(runs / "plain", tmp_path / "official")
    rename(tmp_path / "official", "official", protocol="official", recipe="code")
    with pytest.raises(ValueError, match="numbers of different protocols do not compare"):
        written(tmp_path / "out", f"[{runs}/plain,{tmp_path}/official]")
    with pytest.raises(ConfigError, match="the runs of demo_finetune are of different protocols"):
        written(tmp_path / "out", f"[[{runs}/plain,{tmp_path}/official],{runs}/best]")


@pytest.mark.parametrize(("key", "value"), [("data.fraction", 0.5), ("model.freeze", True), ("trainer.max_epochs", 2)])
def test_runs_of_a_side_differ_in_seeds_alone(key, value, runs, tmp_path):
    copied(runs, tmp_path / "other", key, value)
    with pytest.raises(ConfigError, match=rf"other: its {key} is not that of .*plain; the runs of a side may differ"):
        written(tmp_path / "out", f"[[{runs}/plain,{tmp_path}/other],{runs}/best]")
    copied(runs, tmp_path / "seed", "data.seed", 7)
    assert written(tmp_path / "out", f"[[{runs}/plain,{tmp_path}/seed],{tmp_path}/other]")["num_runs"] == [2, 1]


def test_runs_of_a_side_have_as_many_training_films_unless_seeds_draw_them(runs, tmp_path):
    for name, seed in (("few", 0), ("fewer", 1)):
        copied(runs, tmp_path / name, "data.fraction", 0.5)
        settings = OmegaConf.load(tmp_path / name / "config.yaml")
        settings.data.fraction_seed = seed
        OmegaConf.save(settings, tmp_path / name / "config.yaml")
    rename(tmp_path / "fewer", "fewer", num_train=11)
    side = f"[{tmp_path}/few,{tmp_path}/fewer]"
    assert written(tmp_path / "out", f"[{side},{runs}/best]")["num_runs"] == [2, 1]
    shutil.copytree(runs / "plain", tmp_path / "more")
    rename(tmp_path / "more", "more", num_train=10_000)
    with pytest.raises(ConfigError, match=r"more: its num_train is not that of"):
        written(tmp_path / "out", f"[[{runs}/plain,{tmp_path}/more],{runs}/best]")


def test_the_training_films_of_both_sides_are_written(runs, tmp_path):
    shutil.copytree(runs / "plain", tmp_path / "more")
    rename(tmp_path / "more", "more", num_train=10_000)
    found = written(tmp_path / "out", f"[{runs}/plain,{tmp_path}/more]")
    own = json.loads((runs / "plain" / "results.json").read_text())["num_train"]
    assert (found["num_train"], found["rival_num_train"]) == (own, 10_000)


def test_another_meaning_of_labels_is_refused(runs, tmp_path):
    copied(runs, tmp_path / "ones", "data.labels.uncertain", "ones")
    message = r"ones: its data\.labels\.uncertain is not that of .*plain"
    with pytest.raises(ConfigError, match=message):
        written(tmp_path / "out", f"[{runs}/plain,{tmp_path}/ones]")


def test_evaluations_of_frozen_features_are_compared(probe_pack, tmp_path):
    run_dir = tmp_path / "run"
    small = ("debug=one_step", "image_size=32", f"data.pack={probe_pack}", "~callbacks.feature_probe")
    quick = [
        f"then.{word}" for word in ("repeats=1", "draws=20", "min_positives=2", "readouts=[pooled]", "strengths=[0.01]")
    ]
    train(composed("experiment=demo_pretrain", *small, "then=probe", *quick), run_dir)
    follow(run_dir)
    found = written(tmp_path / "out", f"[{run_dir}/evaluation/backbone,{run_dir}/evaluation/random]")
    expected = json.loads((run_dir / "evaluation" / "backbone" / "results.json").read_text())
    np.testing.assert_allclose(
        found["difference"]["macro"]["value"], expected["comparisons"][0]["auroc_macro"]["value"], atol=1e-9
    )
