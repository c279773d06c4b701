"""A trained classifier on the test films of a pack."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from composing import BRIEF, composed
from covidx_tree import good_covidx4
from torch import nn

from evax.commands.evaluate.any_classifier import (
    labelled_films,
    not_shared,
    notes_on_view,
    score_classifier,
    shared_classes,
)
from evax.commands.train.follow import follow
from evax.commands.train.start import train
from evax.config import ConfigError
from evax.data.film_view import FilmView
from evax.data.leakage import LeakageError
from evax.data.module import PackDataModule
from evax.data.prepare import prepare
from evax.data.sources.covidx import CovidX4Source
from evax.data.sources.phantom import PhantomSource
from evax.predict.classifier import FilmClassifier
from evax.runs.gate import UNKNOWN


@pytest.fixture(scope="module")
def run(probe_pack, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    words = [f"data.pack={probe_pack}", *BRIEF, "trainer.precision=bf16-mixed"]
    train(composed("experiment=demo_finetune", *words), run_dir)
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


def test_a_run_is_scored_on_its_own_films_as_at_its_end(run, probe_pack):
    words = [f"run={run}", "features=classifier", "name=again", "batch_size=7"]
    metrics = score_classifier(composed(*words, "draws=20", root="evaluate"), run / "unused", words)
    folder = run / "evaluation" / "classifier"
    assert not (run / "unused").exists()
    own, again = (json.loads((each / "results.json").read_text()) for each in (run, folder))
    assert (again["name"], again["config_hash"], again["num_train"]) == ("again", own["config_hash"], own["num_train"])
    assert metrics["test/auroc_macro"] == pytest.approx(own["auroc_macro"]["value"], abs=1e-9)
    for split in ("val", "test"):
        tables = [pd.read_parquet(each / "predictions" / f"{split}.parquet") for each in (run, folder)]
        pd.testing.assert_frame_equal(*tables, atol=1e-6, rtol=0)
    cards = [json.loads((each / "report_card.json").read_text()) for each in (run, folder)]
    assert cards[0]["thresholds"] == pytest.approx(cards[1]["thresholds"], abs=1e-6)


def test_classes_are_shared_under_either_name():
    found = shared_classes(["Mass", "Effusion", "Hernia"], ["Pleural Effusion", "Mass"])
    assert found == {"Mass": "Mass", "Effusion": "Pleural Effusion"}
    assert shared_classes(["Pleural Effusion"], ["Effusion"]) == {"Pleural Effusion": "Effusion"}


def test_classes_that_are_not_shared_are_named_with_the_reason():
    found = not_shared(["Mass", "Effusion", "Hernia"], ["Pleural Effusion", "Mass", "Edema"])
    assert found == {"Hernia": "the images are not labelled with it", "Edema": "class not in the model's outputs"}


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
    with pytest.raises(LeakageError, match=r"shares [0-9]+ patients and [0-9]+ images with the test set"):
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["repeats=2"], "repeats=2: features=classifier scores as it was trained"),
        (["weights=null"], "needs one of run=RUN_DIR, or weights="),
        (["run=RUN"], "needs one of run=RUN_DIR, or weights="),
        (["weights=null", "run=RUN"], "data: run=RUN is scored on its own data; give weights=RUN and data="),
    ],
)
def test_what_it_has_no_use_for_is_refused(words, message, run, probe_pack, tmp_path):
    with pytest.raises(ConfigError, match=message):
        scored(run, probe_pack, tmp_path, *words)


def test_probabilities_are_finite(run):
    table = pd.read_parquet(run / "predictions" / "test.parquet").drop(columns="image_id").to_numpy()
    assert np.isfinite(table).all()


def classifier_of(classes, view):
    return FilmClassifier(nn.Identity(), nn.Identity(), classes, view, is_exclusive=True)


def test_films_framed_in_another_way_are_told(probe_pack):
    data = PackDataModule(pack=probe_pack, image_size=32, batch_size=1, seed=0, fit_on=[])
    assert notes_on_view(FilmView(32, frame=64, fit="stretch"), data) == []
    told = "trained on films framed to 96 pixels (pad); these are framed to 64 (stretch)"
    assert notes_on_view(FilmView(32, frame=96, fit="pad"), data) == [told]
    whole = "trained on the middle of films; these are stretched to 64 pixels"
    assert notes_on_view(FilmView(32, 48), data) == [whole]


def test_the_published_code_reports_on_the_validation_list_of_covidx4(tmp_path):
    prepare(CovidX4Source(good_covidx4(tmp_path / "raw", patients=40).write()), tmp_path / "pack", size=32, workers=0)
    classifier = classifier_of(("negative", "positive"), FilmView(32, frame=32))

    def tested(protocol, *words):
        cfg = composed("data=covidx4", f"data.pack={tmp_path / 'pack'}", *words, root="evaluate")
        data, columns = labelled_films(cfg, classifier, protocol)
        assert columns == [0, 1]
        return data.split, {name.partition("/")[0] for name in data.pack.image_ids[data.rows("test")].tolist()}

    assert tested("clean") == ("official", {"test"})
    assert tested("official") == ("published", {"val"})
    assert tested("official", "data.split=official") == ("official", {"test"})
