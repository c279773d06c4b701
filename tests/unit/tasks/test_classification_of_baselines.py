"""CNNs and plain ViTs in the classifier: what is kept exact for them, and what is said where it cannot be."""

import logging
from unittest.mock import Mock

import pytest
import torch
from tiny import tiny_data, tiny_trainer
from torch import nn

from evax.backbones import create_foreign
from evax.callbacks import AtomicCheckpointIO, Checkpointing
from evax.checkpoints.files import newest_valid, read_checkpoint, step_of
from evax.data.labels import LabelPolicy
from evax.optim import AdamWCosine
from evax.tasks import Classifier

VIT = {"embed_dim": 64, "depth": 2, "num_heads": 2}
RESNET = {"layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8)}


def labelled_data(pack, **settings):
    return tiny_data(pack, masking=None, labels=LabelPolicy(), **settings)


def classifier(data, backbone, **settings):
    optim = AdamWCosine(lr=1e-3, final_lr=1e-5, warmup_epochs=0.5, layer_decay=settings.pop("layer_decay", 1.0))
    return Classifier(backbone=backbone, classes=list(data.classes), optim=optim, seed=7, **settings)


def plain_vit(**settings):
    return create_foreign("vit_base_patch16_224", image_size=64, model_kwargs=VIT | settings, drop_path=0.3)


def resnet():
    return create_foreign("resnet50", model_kwargs=RESNET)


def test_micro_batches_change_nothing_for_a_plain_vit_that_drops_paths(pack_folder, tmp_path):
    weights = []
    for per_device in (8, 2):
        data = labelled_data(pack_folder, per_device_batch=per_device)
        torch.manual_seed(0)
        task = classifier(data, plain_vit(global_pool="avg"), layer_decay=0.55).double()
        settings = {"precision": "64-true", "accumulate_grad_batches": data.accumulation(1), "limit_val_batches": 0}
        tiny_trainer(tmp_path, **settings).fit(task, data)
        weights.append(torch.nn.utils.parameters_to_vector(task.parameters()).detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-12)


def fitted_by_patches_of_14(pack, folder, image_size):
    data = labelled_data(pack, image_size=image_size)
    backbone = create_foreign("vit_base_patch16_224", image_size=image_size, model_kwargs=VIT | {"patch_size": 14})
    trainer = tiny_trainer(folder, max_steps=1, limit_val_batches=0)
    trainer.fit(classifier(data, backbone), data)
    return trainer.global_step


def test_patches_of_14_pixels_are_fine_tuned_at_their_multiples(pack_folder, tmp_path):
    assert fitted_by_patches_of_14(pack_folder, tmp_path, 70) == 1
    with pytest.raises(ValueError, match="image_size=64 is not a multiple of the patch size 14; use 56 or 70"):
        fitted_by_patches_of_14(pack_folder, tmp_path, 64)


@pytest.mark.parametrize("backbone", [lambda: plain_vit(global_pool="avg"), plain_vit, resnet])
def test_fc_norm_starts_fresh_where_there_is_one(backbone):
    data = type("Data", (), {"classes": ("a", "b")})
    model = backbone()
    norm = getattr(model, "fc_norm", None)
    if isinstance(norm, nn.LayerNorm):
        norm.weight.data.fill_(3)
    task = classifier(data, model)
    assert not isinstance(norm, nn.LayerNorm) or task.backbone.fc_norm.weight.eq(1).all()
    assert task(torch.rand(2, 3, 64, 64)).shape == (2, 2)


def test_features_of_a_pooled_vit_are_the_mean_of_patch_tokens_without_norm_then_fc_norm():
    model = plain_vit(global_pool="avg").eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        last = model.forward_intermediates(images, indices=1, output_fmt="NLC", intermediates_only=True)[0]
        torch.testing.assert_close(model(images), model.fc_norm(last.mean(1)))


@pytest.mark.parametrize(("per_device", "is_told"), [(8, False), (4, True)])
def test_statistics_of_a_part_of_the_batch_are_told(per_device, is_told, pack_folder, tmp_path, caplog):
    data = labelled_data(pack_folder, per_device_batch=per_device)
    trainer = tiny_trainer(
        tmp_path, accumulate_grad_batches=data.accumulation(1), limit_train_batches=2, limit_val_batches=0
    )
    with caplog.at_level(logging.INFO):
        trainer.fit(classifier(data, resnet()), data)
    assert (f"BatchNorm: its statistics are of {per_device} films, not of batch_size=8" in caplog.text) == is_told


def test_a_frozen_cnn_keeps_its_statistics(pack_folder, tmp_path):
    data = labelled_data(pack_folder)
    task = classifier(data, resnet(), freeze=True)
    before = {name: value.clone() for name, value in task.backbone.state_dict().items()}
    tiny_trainer(tmp_path, limit_train_batches=2).fit(task, data)
    assert all(torch.equal(value, before[name]) for name, value in task.backbone.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*dataloader is not resumable")  # its batch sampler is
def test_a_frozen_cnn_keeps_its_statistics_when_resumed_inside_an_epoch(pack_folder, tmp_path):
    data = labelled_data(pack_folder)
    saving = Checkpointing(monitor="val/auroc_macro", every_n_steps=2)
    settings = {"callbacks": [saving], "plugins": [AtomicCheckpointIO()], "enable_checkpointing": True}
    stopped = classifier(data, resnet(), freeze=True)
    stopped.on_train_batch_end = Mock(side_effect=[None, None, RuntimeError("stopped")])
    with pytest.raises(RuntimeError, match="stopped"):
        tiny_trainer(tmp_path, **settings).fit(stopped, data)
    task = classifier(data, resnet(), freeze=True)
    seen = []
    task.on_train_batch_end = lambda outputs, batch, batch_idx: seen.append((batch_idx, task.backbone.training))
    settings["callbacks"] = [Checkpointing(monitor="val/auroc_macro")]
    checkpoint = newest_valid(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert step_of(checkpoint) == 2
    tiny_trainer(tmp_path, limit_val_batches=0, **settings).fit(task, data, ckpt_path=checkpoint)
    assert seen == [(2, False), (3, False), (4, False)]
    before = read_checkpoint(checkpoint)["state_dict"]
    kept = {name: value for name, value in task.state_dict().items() if name.startswith("backbone.")}
    assert all(torch.equal(value, before[name]) for name, value in kept.items())


def test_layer_decay_is_refused_for_a_cnn(pack_folder, tmp_path):
    data = labelled_data(pack_folder)
    with pytest.raises(ValueError, match=r"optim\.layer_decay needs a backbone of blocks"):
        tiny_trainer(tmp_path).fit(classifier(data, resnet(), layer_decay=0.5), data)
