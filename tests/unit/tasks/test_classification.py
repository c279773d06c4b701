"""Fine-tuning: what is trained, what is scored, and that ranks and parts change nothing."""

import numpy as np
import pytest
import timm
import torch
from scipy.special import expit
from tiny import tiny_backbone, tiny_data, tiny_trainer

from evax.callbacks import MetricsCsv
from evax.data.labels import LabelPolicy
from evax.evaluation.auroc import auroc_per_class, macro
from evax.optim import AdamWCosine
from evax.tasks import Classifier
from evax.tasks.classification import gathered


def labelled_data(pack, **settings):
    return tiny_data(pack, masking=None, labels=LabelPolicy(), **settings)


def classifier(data, **settings):
    backbone = settings.pop("backbone", None) or tiny_backbone(mask_token=False)
    optim = AdamWCosine(lr=1e-3, final_lr=1e-3, warmup_epochs=0.5, layer_decay=settings.pop("layer_decay", 0.5))
    return Classifier(backbone=backbone, classes=list(data.classes), optim=optim, seed=7, **settings)


def test_validation_scores_every_film_once(pack_folder, tmp_path):
    data = labelled_data(pack_folder)
    task, table = classifier(data), MetricsCsv(tmp_path)
    tiny_trainer(tmp_path, logger=table, max_epochs=1).fit(task, data)
    rows = data.rows("val")
    task.eval()
    batches = data.local_loader(data.dataset(rows))
    with torch.no_grad():
        logits = np.concatenate([task.logits(batch["image"]).numpy() for batch in batches])
    expected = macro(auroc_per_class(task.scores(logits), *data.targets_of(rows))).value
    recorded = [float(row["val/auroc_macro"]) for row in table.rows() if row["val/auroc_macro"]]
    assert recorded == pytest.approx([expected], abs=1e-6)


def test_micro_batches_change_nothing(pack_folder, tmp_path):
    weights = []
    for per_device in (8, 2):
        data = labelled_data(pack_folder, per_device_batch=per_device)
        torch.manual_seed(0)
        task = classifier(data).double()
        settings = {"precision": "64-true", "accumulate_grad_batches": data.accumulation(1), "limit_val_batches": 0}
        tiny_trainer(tmp_path, **settings).fit(task, data)
        weights.append(torch.nn.utils.parameters_to_vector(task.parameters()).detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-12)


def test_rates_fall_with_depth(pack_folder, tmp_path):
    data = labelled_data(pack_folder)
    task = classifier(data, layer_decay=0.5)
    rates = {}
    task.on_before_optimizer_step = lambda optimizer: rates.update(
        {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}
    )
    tiny_trainer(tmp_path, limit_val_batches=0).fit(task, data)
    assert rates["head.projection.weight"] == rates["backbone.fc_norm.weight"] == pytest.approx(1e-3)
    assert rates["backbone.blocks.1.attn.proj.weight"] == pytest.approx(5e-4)
    assert rates["backbone.patch_embed.proj.weight"] == pytest.approx(1e-3 / 8)


@pytest.mark.parametrize("head", ["linear", "attentive"])
def test_a_frozen_backbone_stays_as_it_is(head, pack_folder, tmp_path):
    data = labelled_data(pack_folder)
    task = classifier(data, backbone=tiny_backbone(mask_token=False, drop_path_rate=0.5), freeze=True, head=head)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    modes = []
    task.on_train_batch_end = lambda *_: modes.append(task.backbone.training)
    task.optim = AdamWCosine(lr=1e-2, final_lr=1e-2, warmup_epochs=0.0)
    tiny_trainer(tmp_path, limit_val_batches=0).fit(task, data)
    changed = {name for name, value in task.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("head.") for name in changed)
    assert set(modes) == {False}


def test_a_detached_patch_embedding_stays_as_it_is_and_all_else_learns(pack_folder, tmp_path):
    data = labelled_data(pack_folder)
    task = classifier(data, patch_embed_gradient=0.0)
    before = {name: value.detach().clone() for name, value in task.named_parameters()}
    tiny_trainer(tmp_path, limit_val_batches=0, max_epochs=2).fit(task, data)
    kept = {name for name, value in task.named_parameters() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name.startswith("backbone.patch_embed.")} != set()


def test_only_a_vit_has_a_patch_embedding():
    data = type("Data", (), {"classes": ("a",)})
    with pytest.raises(ValueError, match=r"model\.patch_embed_gradient is for ViTs"):
        classifier(data, backbone=timm.create_model("resnet18", num_classes=0), patch_embed_gradient=0.0)


def test_fc_norm_starts_fresh_or_as_loaded():
    backbone = tiny_backbone(mask_token=False)
    backbone.fc_norm.weight.data.fill_(3)
    data = type("Data", (), {"classes": ("a", "b")})
    assert classifier(data, backbone=backbone, fc_norm="weights").backbone.fc_norm.weight.eq(3).all()
    assert classifier(data, backbone=backbone).backbone.fc_norm.weight.eq(1).all()


def test_exclusive_classes_share_a_softmax():
    data = type("Data", (), {"classes": ("a", "b")})
    task = classifier(data, loss="exclusive")
    probabilities = expit(task.scores(np.array([[0.0, 2.0]], np.float32)))
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)
    confident = task.scores(np.array([[0.0, 30.0], [0.0, 31.0]], np.float32))
    assert confident[0, 1] < confident[1, 1]  # float32 probabilities of both are 1


def test_predictions_are_in_the_order_of_the_pack_each_film_once():
    parts = [(torch.tensor([5, 2]), torch.tensor([[5.0], [2.0]])), (torch.tensor([2]), torch.tensor([[2.0]]))]
    predictions = gathered(parts)
    assert predictions.rows.tolist() == [2, 5]
    assert predictions.logits.tolist() == [[2.0], [5.0]]


@pytest.mark.parametrize(("key", "value"), [("loss", "focal"), ("head", "conv"), ("fc_norm", "old")])
def test_unknown_choices_are_named(key, value):
    data = type("Data", (), {"classes": ("a",)})
    with pytest.raises(Exception, match=f"model.{key}={value} is not known|{key}"):
        classifier(data, **{key: value})
