"""Which films chose a checkpoint: what a run, a file beside its description, and a published file tell."""

import pytest
import torch
from composing import composed
from omegaconf import OmegaConf
from parity.official_files import OFFICIAL, official_state

from evax.backbones import create_backbone
from evax.checkpoints.weights import export_weights
from evax.commands.evaluate.probe import origin_of
from evax.config import instantiate
from evax.runs.choice import choice_of, notes_on_start
from evax.runs.gate import UNKNOWN


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory):
    """A file in the layout of EVA-X's fine-tuned ones: a head of 14 findings and no word about them."""
    state = official_state(OFFICIAL["eva_x_tiny"])
    state = {name: tensor for name, tensor in state.items() if not name.startswith(("mask_token", "lm_head."))}
    file = tmp_path_factory.mktemp("published") / "eva_x_tiny_cxr14_ft.pth"
    head = {"head.weight": torch.ones(14, OFFICIAL["eva_x_tiny"].width), "head.bias": torch.ones(14)}
    torch.save({"model": state | head}, file)
    return file


def exported(folder, **facts):
    """An export whose `.json` tells these facts."""
    file = folder / "mine.safetensors"
    export_weights(create_backbone("eva_x_tiny", image_size=32), file, {"architecture": {"name": "eva_x_tiny"}} | facts)
    return file


def test_a_checkpoint_keeps_the_protocol_of_its_run(tmp_path):
    (tmp_path / "best.ckpt").touch()
    OmegaConf.save({"protocol": "official", "recipe": "paper"}, tmp_path / "config.yaml")
    for weights in (tmp_path, tmp_path / "best.ckpt"):
        assert choice_of(weights) == ("official", "paper", [])


def test_an_export_tells_the_protocol_of_its_run(tmp_path):
    assert choice_of(exported(tmp_path, protocol="official", recipe="code")) == ("official", "code", [])


def test_classes_without_a_protocol_are_taken_for_clean_and_that_is_said(tmp_path):
    protocol, recipe, notes = choice_of(exported(tmp_path, classes=["Mass"]))
    assert (protocol, recipe) == ("clean", "")
    assert notes == ["mine.safetensors does not tell how it was chosen; taken for chosen on validation films"]


def test_weights_without_classes_were_chosen_on_no_labels(tmp_path):
    assert choice_of(exported(tmp_path)) == ("clean", "", [])


def test_published_fine_tuned_files_were_chosen_on_test_films(fine_tuned):
    assert choice_of(fine_tuned) == ("official", "code", [])


def test_a_probe_of_them_says_so_too(fine_tuned, probe_pack):
    cfg = composed(f"weights={fine_tuned}", "data=phantom", f"data.pack={probe_pack}", "notes=[ours]", root="evaluate")
    told = origin_of(cfg, None, instantiate(cfg.data))
    assert told == {"protocol": "official", "recipe": "code", "notes": ["ours", UNKNOWN]}


def test_a_probe_of_features_that_know_no_training_is_clean(fine_tuned, probe_pack):
    words = [f"weights={fine_tuned}", "data=phantom", f"data.pack={probe_pack}", "features=random"]
    cfg = composed(*words, root="evaluate")
    assert origin_of(cfg, None, instantiate(cfg.data)) == {"protocol": "clean", "recipe": "", "notes": []}


def test_a_run_says_that_it_began_from_weights_that_test_films_chose(fine_tuned, tmp_path):
    told = "began from eva_x_tiny_cxr14_ft.pth, which test films chose (protocol=official): "
    told += "those may be among the films here"
    assert notes_on_start({"weights": str(fine_tuned)}) == [told]
    for weights in (None, str(tmp_path / "gone.pt"), str(exported(tmp_path))):
        assert notes_on_start({"weights": weights}) == []


def test_weights_in_a_container_of_their_own_are_read_by_its_key(fine_tuned, tmp_path):
    file = tmp_path / "own.pth"
    torch.save({"encoder": torch.load(fine_tuned)["model"], "epoch": 3}, file)
    assert len(notes_on_start({"weights": str(file), "backbone": {"weights_key": "encoder"}})) == 1
    told = notes_on_start({"weights": str(file)})  # as of a file that was damaged since
    assert told == ["began from own.pth, which cannot be read any more: how it was chosen is not known"]


def test_what_led_to_a_run_is_told_too(fine_tuned, tmp_path):
    (tmp_path / "best.ckpt").touch()
    OmegaConf.save({"protocol": "clean", "weights": str(fine_tuned), "backbone": {}}, tmp_path / "config.yaml")
    assert notes_on_start({"weights": str(tmp_path)}) == notes_on_start({"weights": str(fine_tuned)})
