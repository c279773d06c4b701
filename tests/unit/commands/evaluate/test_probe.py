"""The probe study as a command."""

import json

import numpy as np
import pytest
import timm
import torch
from composing import composed
from foreign_files import filled, lightning_checkpoint, mgca
from lightning.pytorch import seed_everything
from omegaconf import OmegaConf
from PIL import Image
from result_content import content

from evax.backbones import create_backbone
from evax.backbones.preprocessing import normalisation_of
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.weights import export_weights
from evax.commands.evaluate.probe import check_subject, evaluate, notes_beside
from evax.commands.train.start import train
from evax.config import ConfigError, instantiate
from evax.data.atomic import sha256_of
from evax.data.normalisation import HALF, IMAGENET
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.covidx import CovidX4Source
from evax.report.record import Result
from evax.runs.record import save_result
from evax.runs.settings import settled
from evax.runs.subject import build_backbone, file_subject


def study(probe_pack, *overrides):
    return composed(f"data.pack={probe_pack}", "repeats=1", "draws=50", "min_positives=2", *overrides, root="evaluate")


def test_a_result_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    first = content("probe", 0.7)
    save_result(tmp_path, first)
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_result(tmp_path, first | {"notes": ["later"]})
    assert json.loads((tmp_path / "results.json").read_text()) == first


def test_floors_write_a_result_that_the_report_reads(probe_pack, tmp_path):
    evaluate(study(probe_pack, "features=view"), tmp_path / "view")
    folder = tmp_path / "pixels"
    evaluate(study(probe_pack, "features=pixels", f"against=[{tmp_path / 'view'}]"), folder)

    result = Result.from_json((folder / "results.json").read_text(), "results.json")
    assert result.method == "pixels"
    assert result.comparisons[0].rival == "view"
    assert "macro minus view" in (folder / "summary.txt").read_text()
    content = json.loads((folder / "results.json").read_text())
    assert content["data"] == "phantom/official"
    asked = set(Pack(probe_pack).findings)
    assert set(result.findings) | set(result.not_scored) == asked
    assert all("fewer than 2" in why or why.startswith("no positive") for why in result.not_scored.values())
    assert all(word.endswith(("positive", "positives")) for word in result.remarks.values())


def test_nearest_films_write_a_result_too(probe_pack, tmp_path):
    words = ["features=pixels", "classifier=knn", "neighbors=[3,20]", "temperatures=[0.1]"]
    evaluate(study(probe_pack, *words), tmp_path)
    result = Result.from_json((tmp_path / "results.json").read_text(), "results.json")
    assert result.method == "pixels_knn"
    assert result.chosen.neighbors in (3, 20)
    assert f"pixels, {result.chosen.neighbors} nearest at 0.1" in (tmp_path / "summary.txt").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["classifier=svm"], "classifier=svm is not known; choose linear or knn"),
        (["classifier=knn", "neighbors=[2.5]"], r"neighbors=\[2.5\]: give whole numbers above 0"),
        (["classifier=knn", "temperatures=[]"], r"temperatures=\[\]: give numbers above 0"),
    ],
)
def test_a_reader_that_could_not_work_is_refused(words, said, probe_pack, tmp_path):
    with pytest.raises(ConfigError, match=said):
        evaluate(study(probe_pack, "features=pixels", *words), tmp_path)


def test_a_run_is_probed_before_and_after_training(probe_pack, tmp_path):
    run_dir = tmp_path / "run"
    small = ["debug=one_step", "image_size=32", f"data.pack={probe_pack}", "~callbacks.feature_probe"]
    train(composed("experiment=demo_pretrain", *small), run_dir)

    for features in ("random", "backbone"):
        words = (f"run={run_dir}", f"features={features}", "readouts=[four_blocks]", "strengths=[0.01,0.1]")
        evaluate(study(probe_pack, *words), tmp_path / "unused")

    scores = [
        json.loads((run_dir / "evaluation" / name / "results.json").read_text()) for name in ("random", "backbone")
    ]
    assert scores[0]["test_ids_digest"] == scores[1]["test_ids_digest"]
    assert scores[0]["trials"] != scores[1]["trials"]  # one step has moved the weights


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An export with a normalisation of its own, and the backbone in it."""
    torch.manual_seed(3)
    backbone = create_backbone("eva_x_tiny", image_size=32)
    path = tmp_path_factory.mktemp("export") / "mine.safetensors"
    preprocessing = {"mean": [0.1] * 3, "std": [0.2] * 3}
    export_weights(backbone, path, {"architecture": {"name": "eva_x_tiny"}, "preprocessing": preprocessing})
    return path, backbone


def of_file(exported, *overrides):
    return composed(f"weights={exported[0]}", "image_size=32", *overrides, root="evaluate")


def test_an_export_is_read_as_its_json_says(exported):
    backbone, identity = file_subject(of_file(exported))
    assert normalisation_of(backbone) == ((0.1,) * 3, (0.2,) * 3)
    assert identity["backbone"] == "eva_x_tiny"
    assert identity["sha256"] == sha256_of(exported[0])
    own = exported[1].state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in backbone.state_dict().items())


def test_the_command_line_comes_before_the_file(exported):
    chosen = of_file(exported, "mean=[0.3,0.4,0.5]", "std=[1,1,1]", "features=random")
    backbone, _ = file_subject(chosen)
    assert normalisation_of(backbone) == ((0.3, 0.4, 0.5), (1.0, 1.0, 1.0))
    assert not torch.equal(backbone.patch_embed.proj.weight, exported[1].patch_embed.proj.weight)
    with pytest.raises(ConfigError, match="give mean and std together"):
        file_subject(of_file(exported, "mean=[0.3,0.4,0.5]"))
    with pytest.raises(WeightsError, match=r"backbone\.name=eva_y is none of eva_x_tiny"):
        file_subject(of_file(exported, "backbone.name=eva_y"))


def test_an_official_file_in_a_foreign_layout_needs_only_the_name_of_its_backbone(tmp_path):
    torch.save(lightning_checkpoint(filled(mgca(192))), tmp_path / "mgca.ckpt")
    chosen = composed(f"weights={tmp_path / 'mgca.ckpt'}", "backbone.name=vit_tiny_patch16_224", root="evaluate")
    assert normalisation_of(file_subject(chosen).backbone) == HALF


def test_a_rival_is_read_as_its_configuration_says_from_the_folder_of_its_file(tmp_path):
    pooled = timm.create_model("deit_small_patch16_224", num_classes=3, img_size=32)
    torch.save({"model": pooled.state_dict()}, tmp_path / "deit_small_patch16_224-cd65a155.pth")
    words = [f"weights={tmp_path}", "image_size=32", "backbone=vit_small_deit"]
    backbone = file_subject(composed(*words, root="evaluate")).backbone
    assert normalisation_of(backbone) == tuple(map(tuple, (IMAGENET.mean, IMAGENET.std)))
    assert backbone.global_pool == "avg"
    assert torch.equal(backbone.patch_embed.proj.weight, pooled.patch_embed.proj.weight)


def test_a_file_is_probed_without_a_run(exported, probe_pack, tmp_path):
    quick = [f"weights={exported[0]}", "image_size=32", "readouts=[pooled]", "strengths=[0.01]"]
    evaluate(study(probe_pack, *quick), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["name"] == "mine"


def test_random_features_are_those_of_the_run_before_its_first_step():
    saved = settled(composed("experiment=demo_pretrain"))
    seed_everything(saved.seed, verbose=False)
    before = instantiate(saved.model).backbone.state_dict()
    random = build_backbone(saved, None).state_dict()
    assert all(torch.equal(random[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["features=pixel"], "features=pixel is not known"),
        (["features=backbone"], "features=backbone needs run=RUN_DIR"),
        (["run=a", "weights=b"], "weights=b: run=a has weights of its own; give one of the two"),
        (["backbone=eva_x_tiny", "features=view"], "backbone: is for weights=FILE"),
        (["weights=absent.pt"], "weights=absent.pt: no such file"),
        (["readouts=[poled]", "features=view"], "readouts: there is no 'poled'; did you mean 'pooled'"),
        (["features=view", "run=nowhere"], "run=nowhere: there is no config.yaml"),
        (["features=view", "min_positives=1000"], "min_positives=1000: no finding has as many"),
        (["features=view", "against=[nowhere]"], "against=nowhere: there is no predictions.parquet"),
    ],
)
def test_mistakes_are_named(words, message, probe_pack, tmp_path):
    with pytest.raises((ConfigError, WeightsError), match=message.replace("[", r"\[")):
        evaluate(study(probe_pack, *words), tmp_path / "out")


def test_settings_of_training_are_refused_and_told_where_a_run_has_them(probe_pack):
    words = ["features=view", f"data.pack={probe_pack}", "data.fraction=0.1"]
    with pytest.raises(ConfigError, match=r"data\.fraction=0\.1: a probe learns from all films of train and val"):
        check_subject(composed(*words, root="evaluate"), words)
    assert notes_beside(None) == notes_beside(OmegaConf.create({"data": {"fraction": 1.0, "labels": None}})) == []
    saved = OmegaConf.create({"data": {"fraction": 0.1, "labels": {"findings": ["Mass", "Edema"]}}})
    assert notes_beside(saved) == [
        "the run trained on 0.1 of its films, the probe on all",
        "the run was trained on 2 findings, the probe scores all that it can",
    ]


@pytest.fixture(scope="module")
def mixed_pack(tmp_path_factory):
    """Films of two collections, of which one has a bright edge: it tells class and origin, as in COVIDx."""
    root, generator = tmp_path_factory.mktemp("raw"), np.random.default_rng(0)
    (root / "images").mkdir()
    lines = {"train": [], "test": []}
    for number in range(80):
        film = generator.integers(60, 120, (64, 64), dtype=np.uint8)
        label, origin = (("negative", "nih"), ("positive", "cohen"))[number % 2]
        film[:6] += 100 * (number % 2)
        Image.fromarray(film).save(root / "images" / f"{number}.png")
        lines["test" if number > 55 else "train"].append(f"{number} {number}.png {label} {origin}")
    for split, rows in lines.items():
        (root / f"{split}.txt").write_text("\n".join(rows))
    prepare(CovidX4Source(root), root / "pack", size=64, workers=0)
    return root / "pack"


@pytest.mark.parametrize(
    ("features", "target", "low", "high"),
    [
        ("border", "findings", 0.99, 1.0),
        ("border", "origin", 0.99, 1.0),
        ("middle", "findings", 0.0, 0.85),
        ("middle", "origin", 0.0, 0.85),
    ],
)
def test_a_planted_shortcut_in_the_border_is_shown(features, target, low, high, mixed_pack, tmp_path):
    asked = ["data=covidx4", f"features={features}", f"target={target}", "strengths=[0.01]"]
    evaluate(study(mixed_pack, *asked), tmp_path)
    result = json.loads((tmp_path / "results.json").read_text())
    assert low <= result["auroc_macro"]["value"] <= high
    assert result["name"] == (features if target == "findings" else f"{features}_origin")
    assert set(result["findings"]) == ({"negative", "positive"} if target == "findings" else {"nih", "cohen"})


def test_origins_and_findings_are_two_questions(mixed_pack, tmp_path):
    hashes = []
    for target in ("findings", "origin"):
        evaluate(study(mixed_pack, "data=covidx4", "features=border", f"target={target}"), tmp_path / target)
        hashes.append(json.loads((tmp_path / target / "results.json").read_text())["config_hash"])
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(
    ("target", "message"),
    [("origins", "target=origins is not known; choose findings or origin"), ("origin", "are not of several")],
)
def test_a_question_that_has_no_answer_is_refused(target, message, probe_pack, tmp_path):
    with pytest.raises(ConfigError, match=message):
        evaluate(study(probe_pack, "features=pixels", f"target={target}"), tmp_path)
