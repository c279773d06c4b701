"""Masked image modelling with a tokenizer that has weights."""

import os

import pytest
import torch
from teachers import teacher, tokenizer_of
from tiny import tiny_data, tiny_task, tiny_trainer
from torch import nn

from evax.backbones import create_backbone
from evax.checkpoints.files import read_checkpoint
from evax.checkpoints.weights import export_weights
from evax.tokenizers import EvaXTokenizer


@pytest.fixture
def data(pack_folder):
    return tiny_data(pack_folder)


@pytest.fixture
def learned(tmp_path):
    """A student of a plain ViT's tokens; their widths differ."""
    vit = teacher(img_size=64, embed_dim=48)
    return tiny_task(tokenizer=tokenizer_of(vit, tmp_path, model_kwargs={"embed_dim": 48}))


def addresses(tensors):
    return {tensor.data_ptr() for tensor in tensors}


def test_a_student_whose_tokenizer_is_its_own_export_has_no_loss(data, tmp_path):
    student = create_backbone("eva_x_tiny", image_size=64, mask_token=True)
    export_weights(student, tmp_path / "student.safetensors", {})
    tokenizer = EvaXTokenizer("eva_x_tiny", weights=tmp_path / "student.safetensors", image_size=64, precision="fp32")
    task = tiny_task(backbone=student, tokenizer=tokenizer)
    nn.init.eye_(task.head.projection.weight)
    whole = student.forward_tokens
    student.forward_tokens = lambda images, is_masked=None: whole(images)
    trainer = tiny_trainer(tmp_path)
    trainer.validate(task, data, verbose=False)
    assert abs(trainer.callback_metrics["val/loss"]) <= 1e-6
    assert trainer.callback_metrics["val/cosine_constant"] < 0.999


def test_the_loss_of_a_learned_tokenizer_is_the_cosine(learned):
    assert learned.loss.__name__ == "cosine_loss"


def test_checkpoints_hold_nothing_of_the_tokenizer(learned, data, tmp_path):
    trainer = tiny_trainer(tmp_path, max_steps=1, limit_val_batches=0)
    trainer.fit(learned, data)
    trainer.save_checkpoint(tmp_path / "run.ckpt", weights_only=False)
    content = read_checkpoint(tmp_path / "run.ckpt")
    names = {name.partition(".")[0] for name in content["state_dict"]}
    shapes = {tuple(tensor.shape) for tensor in content["state_dict"].values()}
    assert names == {"backbone", "head"}
    assert tuple(learned.tokenizer.network.pos_embed.shape) not in shapes
    num_trained = sum(1 for parameter in learned.parameters() if parameter.requires_grad)
    assert len(content["optimizer_states"][0]["state"]) <= num_trained


def test_training_leaves_the_tokenizer_as_it_was(learned, data, tmp_path):
    before = {name: tensor.clone() for name, tensor in learned.tokenizer.state_dict().items()}
    tiny_trainer(tmp_path, max_steps=2).fit(learned, data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learned.tokenizer.state_dict().items())


@pytest.fixture
def one_process_group(monkeypatch):
    """Lightning's DDP in this process, and nothing left of it for other tests."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        yield
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*sync_dist=True.*")  # values are equal on all ranks already
@pytest.mark.usefixtures("one_process_group")
def test_ddp_does_not_see_the_tokenizer(learned, data, tmp_path):
    trainer = tiny_trainer(tmp_path, max_steps=2, limit_val_batches=0, strategy="ddp")
    seen = []
    learned.on_train_batch_end = lambda *_: seen.append(addresses(trainer.strategy.model.parameters()))
    trainer.fit(learned, data)
    assert len(seen) == 2
    assert seen[0] == addresses(learned.parameters())
    assert not seen[0] & addresses(learned.tokenizer.parameters())
