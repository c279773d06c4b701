"""A trained classifier on the test films of a pack."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from composing import BRIEF, composed

from evax.commands.evaluate.any_classifier import chosen_under, score_classifier, shared_classes
from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.config import ConfigError
from evax.data.leakage import LeakageError
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource
from evax.runs.gate import UNKNOWN


@pytest.fixture(scope="module")
def run(probe_pack, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    train(composed("experiment=demo_finetune", f"data.pack={probe_pack}", *BRIEF), run_dir)
    follow(run_dir)
    return run_dir


def scored(run_dir, pack, folder, *words):
    common = [f"weights={run_dir}", f"data.pack={pack}", "features=classifier", "draws=20"]
    cfg = composed(*common, *words, root="evaluate")
    score_classifier(cfg, folder, [*common, *words])
    return json.loads((folder / "results.json").read_text())


def test_its_own_films_get_the_scores_that_they_had(run, probe_pack, tmp_path):
    result = scored(run, probe_pack, tmp_path)
    own = json.loads((run / "results.json").read_text())
    assert result["auroc_macro"]["value"] == own["auroc_macro"]["value"]
    assert result["test_ids_digest"] == own["test_ids_digest"]
    tables = [pd.read_parquet(folder / "predictions" / "test.parquet") for folder in (run, tmp_path)]
    pd.testing.assert_frame_equal(*tables, atol=1e-6)
    assert (tmp_path / "figures" / "roc.png").exists()
    assert (tmp_path / "report_card.json").exists()


def test_classes_are_shared_under_either_name():
    found = shared_classes(["Mass", "Effusion", "Hernia"], ["Pleural Effusion", "Mass"])
    assert found == {"Mass": "Mass", "Effusion": "Pleural Effusion"}
    assert shared_classes(["Pleural Effusion"], ["Effusion"]) == {"Pleural Effusion": "Effusion"}


class Swapped(PhantomSource):
    """The same films, those that trained to test on."""

    def films(self):
        films, refusals = super().films()
        other = {"train": "test", "val": "val", "test": "train"}
        swapped = [{name: other[split] for name, split in film.splits.items()} for film in films]
        return [replace(film, splits=splits) for film, splits in zip(films, swapped, strict=True)], refusals


@pytest.mark.parametrize("file", ["", "best.ckpt"])
def test_films_that_trained_are_refused(file, run, tmp_path):
    prepare(Swapped(num_films=120, films_per_patient=1, size=64), tmp_path / "pack", size=64, workers=0)
    with pytest.raises(LeakageError, match=r"shares [0-9]+ patients and [0-9]+ films with the test set"):
        scored(run / file, tmp_path / "pack", tmp_path / "out")


class TestOnly(PhantomSource):
    """Films that all are for testing."""

    __test__ = False

    def films(self):
        films, refusals = super().films()
        return [replace(film, splits=dict.fromkeys(film.splits, "test")) for film in films], refusals


def test_a_pack_of_test_films_is_enough(run, tmp_path):
    prepare(TestOnly(num_films=60, films_per_patient=1, size=64, seed=9), tmp_path / "pack", size=64, workers=0)
    shutil.copy(run / "best.ckpt", tmp_path / "alone.ckpt")
    result = scored(tmp_path / "alone.ckpt", tmp_path / "pack", tmp_path / "out")
    assert result["num_test"] == 60
    untold = "alone.ckpt does not tell how it was chosen; taken for chosen on validation films"
    assert result["notes"] == [untold, UNKNOWN]
    assert not (tmp_path / "out" / "predictions" / "val.parquet").exists()


def test_a_checkpoint_keeps_the_protocol_of_its_run(run, tmp_path):
    assert chosen_under(run / "best.ckpt") == ("clean", "", [])
    shutil.copy(run / "best.ckpt", tmp_path / "best.ckpt")
    content = (run / "config.yaml").read_text().replace("protocol: clean", "protocol: official\nrecipe: code", 1)
    (tmp_path / "config.yaml").write_text(content.replace("recipe: null\n", "", 1))
    assert chosen_under(tmp_path / "best.ckpt") == ("official", "code", [])


@pytest.mark.parametrize(
    ("words", "message"),
    [(["repeats=2"], "repeats=2: features=classifier scores as it was trained"), (["weights=null"], "needs weights=")],
)
def test_what_it_has_no_use_for_is_refused(words, message, run, probe_pack, tmp_path):
    with pytest.raises(ConfigError, match=message):
        scored(run, probe_pack, tmp_path, *words)


def test_probabilities_are_finite(run):
    table = pd.read_parquet(run / "predictions" / "test.parquet").drop(columns="image_id").to_numpy()
    assert np.isfinite(table).all()
