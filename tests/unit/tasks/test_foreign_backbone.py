"""Backbones of timm in a task: what they keep, and what they cannot do."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from composing import composed
from omegaconf import OmegaConf
from tiny import tiny_task

from evax.backbones import create_backbone
from evax.backbones.preprocessing import normalisation_of, normalise_as
from evax.checkpoints.files import read_checkpoint, write_checkpoint
from evax.checkpoints.weights import load_weights
from evax.config import instantiate
from evax.data.module import PackDataModule
from evax.data.normalisation import CXR14, IMAGENET
from evax.optim import AdamWCosine
from evax.runs.settings import settled
from evax.runs.subject import build_backbone
from evax.tasks.base import Task

NAME = "deit_tiny_patch16_224"
LOOPS = {"fit_loop": {"epoch_loop.batch_progress": {"current": {"ready": 0}}}}


def a_task(normalisation=None) -> Task:
    backbone = create_backbone(NAME, image_size=32)
    if normalisation is not None:
        normalise_as(backbone, normalisation)
    return Task(backbone, AdamWCosine(lr=1e-3, final_lr=1e-5, warmup_epochs=0.5), seed=0)


@pytest.fixture
def run_dir(tmp_path):
    """A run of a foreign backbone whose weights asked for ChestX-ray14's statistics."""
    task = a_task(CXR14)
    state = {"state_dict": task.state_dict(), "loops": LOOPS, "global_step": 0}
    task._trainer = SimpleNamespace(max_epochs=1, datamodule=Mock(spec=PackDataModule, steps_per_epoch=1))
    task.on_save_checkpoint(state)
    write_checkpoint(state, tmp_path / "best.ckpt")
    return tmp_path


def test_a_resumed_task_normalises_as_before(run_dir):
    task = a_task()
    assert normalisation_of(task.backbone) == IMAGENET
    task.on_load_checkpoint(read_checkpoint(run_dir / "best.ckpt"))
    assert normalisation_of(task.backbone) == CXR14
    assert task.student_input(torch.full((1, 3, 4, 4), 0.5056)).abs().max() < 1e-6


def test_the_run_as_weights_tells_its_normalisation(run_dir):
    assert load_weights(create_backbone(NAME, image_size=32), run_dir).normalisation == CXR14
    assert normalisation_of(create_backbone(NAME, image_size=32, weights=run_dir)) == CXR14


@pytest.mark.parametrize("is_trained", [True, False])
def test_an_evaluation_normalises_as_the_run_did(run_dir, is_trained):
    words = [f"backbone.name={NAME}", "~backbone.mask_token", "~backbone.initialise", "image_size=32"]
    saved = settled(composed(*words))
    OmegaConf.save(saved, run_dir / "config.yaml")
    assert normalisation_of(build_backbone(saved, run_dir, is_trained=is_trained)) == CXR14


def test_masked_image_modelling_refuses_a_backbone_that_cannot_hide_patches():
    model = composed(f"backbone.name={NAME}", "~backbone.mask_token", "~backbone.initialise", "image_size=32").model
    with pytest.raises(Exception, match=r"VisionTransformer has no mask token.*choose one of eva_x_tiny") as refusal:
        instantiate(model)
    assert "AttributeError" not in str(refusal.value)


def test_masked_image_modelling_refuses_to_start_without_a_mask_token():
    with pytest.raises(ValueError, match=r"backbone\.mask_token=false: .*set backbone\.mask_token=true"):
        tiny_task(backbone=create_backbone("eva_x_tiny", image_size=64))
