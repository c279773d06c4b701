import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import foreign_files as files
import pytest
import torch
import yaml
from foreign_files import weightless
from parity.official_files import OFFICIAL, official_state

from evax import checkpoints, create_backbone
from evax.checkpoints.__main__ import main
from evax.checkpoints.files import step_file, write_checkpoint
from evax.checkpoints.inspection import find_fits, image_size_of, known_as
from evax.checkpoints.weight_files import Content, under_timm_names
from evax.runs.weights import on_meta


def meta_weights(shapes: files.Shapes):
    return under_timm_names(Content(Path("file.pt"), "flat", weightless(shapes), {}))


@pytest.mark.parametrize(
    ("shapes", "backbone", "known"),
    [
        (files.mgca(768), "vit_base_patch16_224", ["mgca_vit_b"]),
        (files.biomedclip(768), "vit_base_patch16_224", ["biomedclip"]),
        (files.mae(384), "vit_small_patch16_224", ["medical_mae_s", "mae_s"]),
        (files.eva_clip_split(1024, 24, 14, 577, 768), "eva02_large_patch14_clip_336", ["eva_clip_l_336"]),
        (files.eva_clip_fused(1408, 40, 6144, 1024), "eva_giant_patch14_clip_224", ["eva_clip_g"]),
    ],
)
def test_the_backbone_without_resampling_comes_first(shapes, backbone, known):
    weights = meta_weights(shapes)
    fits = find_fits(weights, on_meta)
    assert fits[0].entry.backbone == backbone
    assert not fits[0].report.resized
    assert [entry.name for entry in known_as(weights, fits)] == known


def test_eva_02_at_its_own_patch_size_is_not_eva_x():
    state = {n: t.to("meta") for n, t in official_state(OFFICIAL["eva_x_small"], patch_size=14, side=16).items()}
    fits = find_fits(under_timm_names(Content(Path("a.pt"), "module", state, {})), on_meta)
    assert [fit.entry.backbone for fit in fits] == ["eva02_small_patch14_224", "eva_x_small"]


def test_a_width_that_nobody_published_fits_nothing():
    assert find_fits(meta_weights(files.vit(200)), on_meta) == []


@pytest.mark.parametrize(("num_slots", "size"), [(197, 224), (196, 224), (65, 128), (193, None), (201, None)])
def test_image_size_follows_from_positions_and_patches(num_slots, size):
    assert image_size_of(meta_weights(files.vit(64, num_slots=num_slots)).tensors) == size


@pytest.fixture(scope="module")
def mim_file(tmp_path_factory) -> Path:
    """A MIM file of EVA-X-Ti in half precision."""
    path = tmp_path_factory.mktemp("official") / "eva_x_tiny_mim.pt"
    state = {name: tensor.half() for name, tensor in official_state(OFFICIAL["eva_x_tiny"]).items()}
    torch.save({"module": state, "global_steps": 600, "optimizer": {}}, path)
    return path


def said(caplog, *arguments: str | Path) -> str:
    with caplog.at_level(logging.INFO, logger="evax"):
        main([str(argument) for argument in arguments])
    return caplog.text


def refused(capsys, *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as exit_info:
        main([str(argument) for argument in arguments])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_inspect_says_what_a_file_is(mim_file, caplog):
    text = said(caplog, "inspect", mim_file)
    for line in (
        "container  module; beside it global_steps 600, optimizer",
        "layout     EVA-02 packed",
        "tensors    191, of them 162 of an image encoder: 5,525,184 parameters in float16",
        "shape      192 wide, 12 blocks, patches of 16 pixels, images of 224 × 224 pixels in 3 channels",
        "images     mean 0.49185243 0.49185243 0.49185243, std 0.28509309 0.28509309 0.28509309, if it is eva_x_tiny",
        "with it    mask_token",
        "left out   not used 2 (lm_head.weight, lm_head.bias); 26 position tables are computed, not loaded",
        "could be   eva_x_tiny (EVA-X-Ti/16, masked image modelling on Merged520k)",
        "fits 1     eva_x_tiny: 162 tensors loaded, 100.0% of the model's parameters",
    ):
        assert line in text


def test_inspect_of_a_backbone_that_does_not_fit(mim_file, capsys):
    error = refused(capsys, "inspect", mim_file, "--backbone", "eva_x_small")
    assert "choose the backbone of the file (an EVA, 192 wide, 12 blocks; the model is an EVA, 384 wide" in error
    assert "backbone=eva_x_tiny" in error


def test_inspect_of_a_backbone_that_nobody_knows(mim_file, capsys):
    error = refused(capsys, "inspect", mim_file, "--backbone", "eva_y")
    assert "error: backbone.name=eva_y is none of eva_x_tiny" in error


def test_inspect_of_a_file_that_is_no_weights(tmp_path, capsys):
    (tmp_path / "a.pt").write_text("<html>sign in</html>")
    assert "a.pt: not a file of tensors" in refused(capsys, "inspect", tmp_path / "a.pt")


def test_an_exported_file_tells_all_that_is_known(mim_file, tmp_path, caplog):
    said(caplog, "export", mim_file, tmp_path / "out.safetensors")
    meta = json.loads((tmp_path / "out.json").read_text())
    assert meta["architecture"] == {"name": "eva_x_tiny", "image_size": 224, "mask_token": True}
    assert meta["preprocessing"] == {"mean": [0.49185243] * 3, "std": [0.28509309] * 3}
    assert (meta["tokenizer"], meta["source"]) == (None, "eva_x_tiny_mim.pt")
    model = create_backbone("eva_x_tiny", weights=tmp_path / "out.safetensors", mask_token=True)
    state = official_state(OFFICIAL["eva_x_tiny"])
    assert torch.equal(model.mask_token, state["mask_token"].half().float())
    assert torch.equal(model.fc_norm.weight, state["norm.weight"].half().float())


def test_a_run_is_exported_at_its_own_size_with_step_and_tokenizer(tmp_path, caplog):
    model = create_backbone("eva_x_tiny", image_size=64)
    run = tmp_path / "run"
    state = {f"backbone.{name}": tensor for name, tensor in model.state_dict().items()}
    write_checkpoint({"state_dict": state, "global_step": 7}, run / "checkpoints" / step_file(7))
    tokenizer = {"_target_": "evax.tokenizers.HogTokenizer", "weights": "/home/somebody/teacher.pt"}
    (run / "config.yaml").write_text(yaml.safe_dump({"backbone": {"name": "eva_x_tiny"}, "tokenizer": tokenizer}))
    said(caplog, "export", run, tmp_path / "out.safetensors")
    meta = json.loads((tmp_path / "out.json").read_text())
    assert (meta["architecture"]["image_size"], meta["step"]) == (64, 7)
    assert meta["tokenizer"] == tokenizer | {"weights": "teacher.pt"}
    again = create_backbone("eva_x_tiny", image_size=64, weights=tmp_path / "out.safetensors").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_an_export_of_an_export_forgets_nothing(tmp_path, caplog):
    name = "deit_tiny_patch16_224"
    torch.save(files.lightning_checkpoint(files.filled(files.mgca(192))), tmp_path / "a.ckpt")
    said(caplog, "export", tmp_path / "a.ckpt", tmp_path / "b.safetensors", "--backbone", name)
    said(caplog, "export", tmp_path / "b.safetensors", tmp_path / "c.safetensors", "--backbone", name)
    first, second = (json.loads((tmp_path / f"{each}.json").read_text()) for each in "bc")
    assert first["preprocessing"] == second["preprocessing"] == {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert (first["step"], first["sha256"]) == (second["step"], second["sha256"])
    assert create_backbone(name, weights=tmp_path / "c.safetensors").pretrained_cfg["mean"] == (0.5,) * 3


def test_a_run_of_a_foreign_backbone_is_exported_with_its_own_normalisation(tmp_path, caplog):
    name = "deit_tiny_patch16_224"
    state = {f"backbone.{key}": tensor for key, tensor in create_backbone(name).state_dict().items()}
    own = {"mean": [0.1] * 3, "std": [0.2] * 3}
    run = tmp_path / "run"
    write_checkpoint({"state_dict": state, "global_step": 7, "preprocessing": own}, run / "checkpoints" / step_file(7))
    (run / "config.yaml").write_text(yaml.safe_dump({"backbone": {"name": name}}))
    said(caplog, "export", run, tmp_path / "out.safetensors")
    assert json.loads((tmp_path / "out.json").read_text())["preprocessing"] == own


def test_an_export_names_its_backbone_by_itself(tmp_path, caplog):
    name = "vit_tiny_patch16_224"  # nobody's among the published
    torch.save(files.filled(files.vit(192)), tmp_path / "a.pt")
    said(caplog, "export", tmp_path / "a.pt", tmp_path / "b.safetensors", "--backbone", name)
    said(caplog, "export", tmp_path / "b.safetensors", tmp_path / "c.safetensors")
    assert json.loads((tmp_path / "c.json").read_text())["architecture"]["name"] == name


LIST_HEAVY = """
import atexit, runpy, sys
atexit.register(lambda: print("imported:", [name for name in ("torch", "timm", "lightning") if name in sys.modules]))
sys.argv = ["evax.checkpoints", *sys.argv[1:]]
runpy.run_module("evax.checkpoints", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--help"], 0), (["fetch", "--help"], 0), (["inspect", "--help"], 0), (["fetch"], 0), (["fetch", "no_such"], 2)],
)
def test_what_needs_no_torch_does_not_wait_for_it(words, code):
    done = subprocess.run([sys.executable, "-c", LIST_HEAVY, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.endswith("imported: []\n")


def test_public_names_are_imported_on_first_use():
    assert all(hasattr(checkpoints, name) for name in checkpoints.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'load'.*load_weights"):
        _ = checkpoints.load


def test_an_export_under_another_ending_is_refused_first(tmp_path, capsys):
    error = refused(capsys, "export", tmp_path / "absent.pt", tmp_path / "out.pt")
    assert "name it out.safetensors" in error


def test_fetch_without_a_name_lists_all(caplog):
    text = said(caplog, "fetch")
    assert re.search(r"eva_x_small +EVA-X-S/16, masked image modelling on Merged520k; licence: MIT\n", text)
    assert "licence: not stated by its repository; by hand" in text


def test_fetch_of_an_unknown_name_is_one_line(capsys):
    assert "did you mean 'biomedclip'?" in refused(capsys, "fetch", "biomed_clip")
