"""A classifier in use gives what its run's evaluation gave, from a run, a checkpoint or an export."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from composing import composed
from foreign_files import filled, vit
from parity.official_files import OFFICIAL, official_state

import evax
from evax.backbones import create_foreign
from evax.checkpoints.__main__ import main
from evax.checkpoints.classifiers import PUBLISHED_CLASSES
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.files import newest_valid, read_checkpoint, write_checkpoint
from evax.commands.train.start import train
from evax.data.film_view import FilmView
from evax.data.phantom.plan import FINDINGS
from evax.heads import LinearClassifier
from evax.predict.loading import load_classifier


def scores_of(classifier, pack, names) -> np.ndarray:
    """Probabilities of the pack's films, as a user would get them."""
    films = {str(name): pack.image(row) for row, name in enumerate(pack.image_ids)}
    images = torch.stack([classifier.preprocess(np.array(films[name])) for name in names])
    return classifier.probabilities(images).numpy()


AVERAGED = "callbacks=classification_ema"


@pytest.mark.parametrize("words", [("full",), ("attentive",), ("lora",), ("lora", AVERAGED)], ids=lambda w: w[-1])
def test_probabilities_are_those_of_the_evaluation(words, runs, probe_pack, tmp_path):
    run_dir = runs(*words)
    table = pd.read_parquet(run_dir / "predictions" / "test.parquet")
    pack = evax.Pack(probe_pack)
    main(["export", str(run_dir), str(tmp_path / "export.safetensors")])
    shutil.copy(run_dir / "best.ckpt", tmp_path / "alone.ckpt")
    for path in (run_dir, run_dir / "best.ckpt", tmp_path / "export.safetensors", tmp_path / "alone.ckpt"):
        classifier = evax.load_classifier(path)
        assert list(classifier.classes) == list(table.columns[1:])
        assert not classifier.training
        assert classifier.view == FilmView(32, 48, frame=64)
        found = scores_of(classifier, pack, table["image_id"])
        np.testing.assert_allclose(found, table.drop(columns="image_id").to_numpy(), atol=1e-6, rtol=0)
    assert np.ptp(found, axis=0).max() > 1e-4  # films differ in what they get


def test_an_export_says_all_that_a_reader_needs(runs, tmp_path):
    main(["export", str(runs("attentive")), str(tmp_path / "export.safetensors")])
    meta = json.loads((tmp_path / "export.json").read_text())
    assert (meta["loss"], meta["num_heads"]) == ("binary", 8)
    assert meta["classes"] == list(FINDINGS)
    told = {name: meta["preprocessing"][name] for name in ("image_size", "resize_to", "frame", "fit")}
    assert told == {"image_size": 32, "resize_to": 48, "frame": 64, "fit": "stretch"}
    assert len(meta["preprocessing"]["mean"]) == 3


@pytest.mark.parametrize("adapt", ["full", "lora"])
def test_a_backbone_takes_a_classifier_by_its_backbone(adapt, runs, tmp_path):
    main(["export", str(runs(adapt)), str(tmp_path / "export.safetensors")])
    models = [
        evax.create_backbone("eva_x_tiny", image_size=32, weights=path)
        for path in (runs(adapt), tmp_path / "export.safetensors")
    ]
    for name, tensor in models[0].state_dict().items():
        assert torch.equal(tensor, models[1].state_dict()[name])
    assert not any("parametrizations" in name for name in models[0].state_dict())


def test_only_adapters_and_head_of_a_lora_run_have_moved(runs):
    first, last = (
        read_checkpoint(path)["state_dict"] for path in sorted((runs("lora") / "checkpoints").glob("step-*.ckpt"))[:2]
    )
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert moved
    assert all(name.startswith("head.") or name.endswith((".up", ".down")) for name in moved)


def test_a_lora_run_goes_on_exactly(runs, tmp_path):
    whole, half = runs("lora"), tmp_path / "half"
    shutil.copytree(whole, half)
    sorted((half / "checkpoints").glob("step-*.ckpt"))[-1].unlink()
    train(composed(f"resume={half}"), half)
    ends = [read_checkpoint(newest_valid(folder / "checkpoints")) for folder in (whole, half)]
    assert ends[0]["global_step"] == ends[1]["global_step"]
    for name, tensor in ends[0]["state_dict"].items():
        assert torch.equal(tensor, ends[1]["state_dict"][name]), name


@torch.no_grad()
def test_a_model_of_timm_is_built_as_its_run_built_it(tmp_path):
    name, model_kwargs = "vit_tiny_patch16_224", {"global_pool": "avg"}
    backbone = create_foreign(name, image_size=32, model_kwargs=model_kwargs).eval()
    head = LinearClassifier(192, 2)
    parts = {"backbone": backbone.state_dict(), "head": head.state_dict()}
    state = {f"{part}.{n}": tensor for part, tensors in parts.items() for n, tensor in tensors.items()}
    preprocessing = {"mean": [0.4] * 3, "std": [0.3] * 3, "image_size": 32}
    content = {"state_dict": state, "classes": ["a", "b"], "loss": "exclusive", "preprocessing": preprocessing}
    write_checkpoint(content, tmp_path / "run" / "best.ckpt")
    config = {"backbone": {"name": name, "model_kwargs": model_kwargs}}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    main(["export", str(tmp_path / "run"), str(tmp_path / "out.safetensors")])
    images = torch.randn(2, 3, 32, 32)
    for path in (tmp_path / "run", tmp_path / "out.safetensors"):
        classifier = load_classifier(path)
        torch.testing.assert_close(classifier(images), head(backbone(images)), rtol=0, atol=1e-6)
        assert classifier.is_exclusive
        assert classifier.preprocess(np.full((40, 40), 102, np.uint8)).abs().max() < 1e-6


def finetuned_state(num_classes: int) -> dict[str, torch.Tensor]:
    state = {n.replace("norm.", "fc_norm.") if n.startswith("norm.") else n: t for n, t in pretrained_state().items()}
    state = {n: t for n, t in state.items() if n != "mask_token" and not n.startswith("lm_head.")}
    return state | {"head.weight": torch.zeros(num_classes, 192), "head.bias": torch.arange(num_classes).float()}


def pretrained_state() -> dict[str, torch.Tensor]:
    return official_state(OFFICIAL["eva_x_tiny"])


@pytest.mark.parametrize(
    ("num_classes", "view", "is_exclusive"),
    [
        (14, FilmView(224, 256), False),
        (5, FilmView(224), False),
        (3, FilmView(224), True),
        (2, FilmView(224), True),
    ],
)
def test_published_files_are_known_by_the_number_of_their_classes(num_classes, view, is_exclusive, tmp_path):
    torch.save({"model": finetuned_state(num_classes)}, tmp_path / "ft.pth")
    classifier = load_classifier(tmp_path / "ft.pth")
    assert classifier.classes == PUBLISHED_CLASSES[num_classes].names
    assert (classifier.view, classifier.is_exclusive) == (view, is_exclusive)
    found = classifier.probabilities(torch.zeros(1, 3, 224, 224))[0]
    logits = torch.arange(num_classes).float()
    torch.testing.assert_close(found, logits.softmax(0) if is_exclusive else logits.sigmoid())


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_a_head_that_is_used_is_not_said_to_be_dropped(prefix, tmp_path, caplog):
    state = finetuned_state(14)
    torch.save({"state_dict": {f"{prefix}{name}": tensor for name, tensor in state.items()}}, tmp_path / "ft.pth")
    with caplog.at_level(logging.INFO):
        classifier = load_classifier(tmp_path / "ft.pth")
    assert torch.equal(classifier.head.projection.weight, state["head.weight"])
    assert "loaded backbone (162 tensors, 100.0% of its parameters) and classification head (14 classes)" in caplog.text
    assert "head." not in caplog.text
    assert "position tables are computed, not loaded" in caplog.text


def test_another_size_resamples_positions_and_shows_the_same_part(tmp_path):
    torch.save({"model": finetuned_state(14)}, tmp_path / "ft.pth")
    classifier = load_classifier(tmp_path / "ft.pth", image_size=112)
    assert classifier.view == FilmView(112, 128)
    assert classifier.preprocess(np.zeros((300, 200), np.uint8)).shape == (3, 112, 112)
    with pytest.raises(WeightsError, match="image_size=100 is not a multiple of the patch size 16; use 96 or 112"):
        load_classifier(tmp_path / "ft.pth", image_size=100)


def test_patches_of_14_pixels_take_518_and_not_512(tmp_path):
    kwargs = {"patch_size": 14, "embed_dim": 32, "depth": 1, "num_heads": 2}
    backbone = create_foreign("vit_tiny_patch16_224", image_size=70, model_kwargs=kwargs)
    parts = {"backbone": backbone.state_dict(), "head": LinearClassifier(32, 2).state_dict()}
    state = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    preprocessing = {"mean": [0.4] * 3, "std": [0.3] * 3, "image_size": 70}
    content = {"state_dict": state, "classes": ["a", "b"], "loss": "binary", "preprocessing": preprocessing}
    write_checkpoint(content, tmp_path / "best.ckpt")
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"backbone": {"name": "vit_tiny_patch16_224", "model_kwargs": kwargs}})
    )
    assert load_classifier(tmp_path, image_size=518).view.image_size == 518
    for size, message in ((512, "of the patch size 14; use 504 or 518"), (0, "give a whole number of pixels")):
        with pytest.raises(WeightsError, match=f"image_size={size}.*{message}"):
            load_classifier(tmp_path, image_size=size)


def test_a_pretraining_file_is_refused_with_the_fix(tmp_path):
    torch.save({"module": pretrained_state()}, tmp_path / "mim.pt")
    with pytest.raises(WeightsError, match=r"mim.pt: was not trained for classification; fine-tune it first: python"):
        load_classifier(tmp_path / "mim.pt")


def test_a_head_that_nobody_published_is_refused(tmp_path):
    state = filled(vit(192)) | {"head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)}
    torch.save({"model": state}, tmp_path / "deit.pth")
    with pytest.raises(WeightsError, match=r"deit.pth: has 1000 outputs, which are no findings"):
        load_classifier(tmp_path / "deit.pth")


def test_what_is_no_grey_film_is_named(tmp_path):
    torch.save({"model": finetuned_state(14)}, tmp_path / "ft.pth")
    with pytest.raises(Exception, match=r"a film is \(H, W\) of uint8|UInt8"):
        load_classifier(tmp_path / "ft.pth").preprocess(np.zeros((64, 64, 3), np.uint8))
