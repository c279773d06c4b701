"""`explain.py` on a tiny run: what it leaves, what it does not make twice, and what it refuses."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from composing import BRIEF, composed

from evax.commands.explain.command import PACKAGE, digest_of_code, explain
from evax.commands.explain.scores import cut_at, pixels
from evax.commands.train.start import train
from evax.config import ConfigError
from evax.data.film import Box
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.phantom import PhantomSource
from evax.evaluation.localisation import SCORED_SIZE, THRESHOLDS, box_region, score_regions
from evax.predict.loading import load_classifier
from evax.runs.gate import UNKNOWN

FEW = ("methods=[grad_cam,attention]", "num_checked=2", "num_figures=1", "draws=20", "batch_size=4")


@pytest.fixture(scope="module")
def run(probe_pack, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    words = [f"data.pack={probe_pack}", *BRIEF, "trainer.precision=bf16-mixed"]
    train(composed("experiment=demo_finetune", *words), run_dir)
    return run_dir


def explained(folder, *words):
    return explain(composed(*words, root="explain"), folder, words)


@pytest.fixture(scope="module")
def explanation(run, tmp_path_factory):
    found = explained(tmp_path_factory.mktemp("unused"), f"run={run}", *FEW, "randomise=false")
    return run / "explanation" / "test", found


def test_every_boxed_test_film_is_scored_and_no_other(explanation, probe_pack):
    folder, found = explanation
    pack, table = Pack(probe_pack), pd.read_csv(folder / "scores.csv")
    rows = [row for row in np.flatnonzero(pack.split("official") == "test") if pack.boxes(int(row))]
    result = json.loads((folder / "results.json").read_text())
    assert set(table["number"]) == set(rows)
    assert set(table["image_id"]) == {pack.image_ids[row] for row in rows}
    assert (table.groupby("method").size() == sum(len(pack.boxes(int(row))) for row in rows)).all()
    assert result["num_films"] == len(rows)
    assert found["test/pointing"] == result["localisation"]["grad_cam"]["pointing"]["pooled"]["value"]


def test_probabilities_are_those_of_the_classifier(explanation, run, probe_pack):
    classifier, pack = load_classifier(run), Pack(probe_pack)
    for row in pd.read_csv(explanation[0] / "scores.csv").drop_duplicates(["number", "finding"]).itertuples():
        image = classifier.preprocess(np.array(pack.image(row.number)))[None]
        odds = classifier.probabilities(image)[0, classifier.classes.index(row.finding)]
        assert row.probability == pytest.approx(float(odds), abs=1e-6)


def test_results_have_methods_baselines_checks_and_cost(explanation):
    folder, _ = explanation
    result = json.loads((folder / "results.json").read_text())
    assert set(result["localisation"]) == {
        *("grad_cam", "attention"),
        *("random", "centre", "brightness", "usual_place"),
    }
    assert set(result["faithfulness"]) == {"grad_cam", "attention"}
    assert result["seconds_per_film"]["grad_cam"] > 0
    assert "| Grad-CAM |" in (folder / "table.md").read_text()


def test_a_uniform_map_scores_the_area_of_the_box_from_end_to_end():
    box = box_region(Box("Mass", 0.25, 0.5, 0.5, 0.25), SCORED_SIZE)
    scores = score_regions([(pixels(np.full((14, 14), 1 / 196, np.float32), SCORED_SIZE), box)])
    assert scores.area == scores.energy == [0.125]
    assert (scores.iou == 0.125).all()


def test_iou_is_at_the_threshold_and_neither_stands_where_there_is_none():
    iou = np.linspace(0, 1, len(THRESHOLDS))
    assert cut_at(float(THRESHOLDS[-1]), iou) == (f"{THRESHOLDS[-1]:.2f}", "1")
    assert cut_at(float("nan"), iou) == ("", "")


def test_figures_carry_numbers_and_no_names(explanation):
    folder, _ = explanation
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"localisation.png", "faithfulness.png", "tokens.png"} <= names
    assert any(name.startswith("gallery-") for name in names)
    assert not any("phantom-" in name for name in names)
    assert "phantom-" not in (folder / "results.json").read_text()


def test_what_lies_there_is_not_made_again(explanation, run, tmp_path):
    folder, _ = explanation
    before = {path: path.stat().st_mtime_ns for part in ("maps", "checks") for path in (folder / part).iterdir()}
    scores = (folder / "scores.csv").read_text()
    (folder / "maps" / "attention-000.npz").unlink()
    explained(tmp_path, f"run={run}", *FEW, "randomise=false", "num_figures=0")
    remade = [path.name for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert remade == ["attention-000.npz"]
    assert (folder / "scores.csv").read_text() == scores


def test_another_explanation_needs_another_name(explanation, run, tmp_path):
    with pytest.raises(ConfigError, match=r"holds another explanation \(its films, num_films differ\)"):
        explained(tmp_path, f"run={run}", *FEW, "num_films=1")


def test_maps_of_other_code_are_not_gone_on_with(explanation, run, tmp_path, monkeypatch):
    package = tmp_path / "evax"
    for part in ("explain", "commands/explain"):
        shutil.copytree(PACKAGE / part, package / part)
    assert digest_of_code(package) == digest_of_code(PACKAGE)
    with (package / "explain" / "occlusion.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setattr("evax.commands.explain.command.PACKAGE", package)
    with pytest.raises(ConfigError, match=r"holds another explanation \(its code differ\); give this one a name="):
        explained(tmp_path, f"run={run}", *FEW, "randomise=false")


class Swapped(PhantomSource):
    """The same films: those that trained are for testing, but one patient's."""

    def films(self):
        films, refusals = super().films()
        first = next(place for place, film in enumerate(films) if film.splits["official"] == "test" and film.boxes)
        splits = ["test" if film.splits["official"] == "train" or place == first else "val"
                  for place, film in enumerate(films)]  # fmt: skip
        return [replace(film, splits={"official": split}) for film, split in zip(films, splits, strict=True)], refusals


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "swapped"
    prepare(Swapped(num_films=120, films_per_patient=1, size=64), folder, size=64, workers=0)
    return folder


def test_patients_that_trained_are_left_out(run, swapped, tmp_path):
    words = (f"weights={run}", "data=phantom", f"data.pack={swapped}", "methods=[grad_cam]", "faithfulness=false")
    explained(tmp_path, *words, "randomise=false", "num_figures=0", "draws=5")
    result = json.loads((tmp_path / "run" / "results.json").read_text())
    assert result["num_films"] == 1
    assert result["num_left_out"] > 20
    assert result["notes"] == [f"{result['num_left_out']} films of patients that trained the model are left out"]
    assert result["localisation"]["grad_cam"]["map"]["pooled"]["value"] is None  # a lone patient has no threshold
    assert pd.read_csv(tmp_path / "run" / "scores.csv")[["threshold", "iou"]].isna().all(axis=None)


def test_a_file_of_unknown_origin_is_told(run, swapped, tmp_path):
    shutil.copy(run / "best.ckpt", tmp_path / "alone.ckpt")
    words = (f"weights={tmp_path}/alone.ckpt", "data=phantom", f"data.pack={swapped}", "methods=[grad_cam]")
    explained(tmp_path, *words, "faithfulness=false", "randomise=false", "num_figures=0", "num_films=3", "draws=5",
              "protocol=official")  # fmt: skip
    result = json.loads((tmp_path / "alone_official" / "results.json").read_text())
    assert result["num_films"] == 3
    assert result["protocol"] == "official"
    assert UNKNOWN in result["notes"]


@pytest.mark.slow
def test_a_folder_of_films_gets_maps_and_figures(run, probe_pack, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    for row in range(3):
        cv2.imwrite(str(films / f"{row}.png"), Pack(probe_pack).image(row))
    (films / "notes.txt").write_text("not a film")
    words = (f"weights={run}", f"images={films}", *FEW, "point=[0.5,0.5]", "name=mine")
    assert explained(tmp_path, *words) == {}
    folder = tmp_path / "mine"
    result = json.loads((folder / "results.json").read_text())
    assert result["num_films"] == 3
    assert set(result["randomisation"]["grad_cam"]) >= {"head", "embedding"}
    assert {"point-000000.png", "randomisation.png"} <= {path.name for path in (folder / "figures").iterdir()}
    assert not (folder / "scores.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["images=films"], "images: run=.* is explained on its own films"),
        (["data=phantom"], "data: run=.* is explained on its own films"),
        (["weights=file"], "give run=RUN_DIR"),
        (["methods=[grad_cm]"], "there is no 'grad_cm'; did you mean 'grad_cam'"),
        (["methods=grad_cam"], r"give a list, \[grad_cam\]"),
        (["findings=[Mas]"], "findings: the classifier has no 'Mas'"),
        (["point=[2,0]"], r"point=\[2, 0\]: give \[x,y\] from 0 to 1 of what the network sees"),
        (["point=[0.5,0.5]", "num_figures=0"], r"point=\[0\.5, 0\.5\]: is drawn on num_figures=0 films; raise that"),
        (["heads=[0]", "methods=[grad_cam]"], "heads: is of method attention"),
        (["layer=blocks.77"], "layer=blocks.77 is none of"),
        (["split=train"], "all .* films with boxes are of patients that trained the model"),
        (["protocol=fair"], "protocol=fair is not known"),
        (["num_films=0"], "num_films=0: give a whole number above 0"),
        (["num_checked=null"], "num_checked=None: give a whole number above 0"),
        (["num_figures=-1"], "num_figures=-1: give a whole number from 0"),
    ],
)
def test_mistakes_are_named_before_anything_is_computed(words, message, run, tmp_path):
    with pytest.raises(ValueError, match=message):
        explained(tmp_path, f"run={run}", *words)
    assert not any((run / "explanation").glob("train*"))


@pytest.fixture(scope="module")
def real_pack(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "cxr14"
    prepare(ChestXray14Source(shared_data / "nih_cxr14_sample"), folder, size=64, workers=0)
    return folder


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "num_boxes"), [("official", 43), ("sample", 9)])
def test_all_boxes_of_real_test_films_are_scored_and_none_of_training_patients(scheme, num_boxes, real_pack, tmp_path):
    small = ("image_size=32", "batch_size=32", "trainer.accelerator=cpu", "trainer.precision=32-true")
    short = ("trainer.max_epochs=1", "optim.warmup_epochs=0.0", "data.fraction=0.2", "data.keep_epoch=false")
    train(
        composed("experiment=sample_finetune", f"data.pack={real_pack}", f"data.split={scheme}",
                 "data.labels.findings=null", *small, *short),
        tmp_path / "run",
    )  # fmt: skip
    words = ("methods=[grad_cam]", "faithfulness=false", "randomise=false", "num_figures=0", "draws=20")
    explained(tmp_path, f"run={tmp_path}/run", *words)
    folder = tmp_path / "run" / "explanation" / "test"
    result, table = json.loads((folder / "results.json").read_text()), pd.read_csv(folder / "scores.csv")
    pack = Pack(real_pack)
    is_test = pack.split(scheme) == "test"
    assert result["num_boxes"] == num_boxes
    assert is_test[table["number"]].all()
    assert not set(pack.patient_ids[table["number"]]) & set(pack.patient_ids[pack.split(scheme) == "train"])
    assert not set(table["image_id"]) & set((folder / "results.json").read_text().split('"'))
