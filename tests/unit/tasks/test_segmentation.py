"""Segmentation: what is trained, what is counted, and that parts change nothing."""

import numpy as np
import pytest
import timm
import torch
from tiny import SIZE, tiny_backbone, tiny_data, tiny_trainer

from evax.callbacks import MetricsCsv
from evax.data.masks import MaskPolicy
from evax.data.transforms import Crop
from evax.evaluation.segmentation import dice, jaccard
from evax.optim import AdamWPolynomial
from evax.optim.groups import parameter_groups
from evax.tasks import Segmenter
from evax.tasks.segmentation import mean_of_scored, pixel_counts

LUNG, SIDES = {"lung": [1, 2]}, {"right": [1], "left": [2]}


def masked_data(pack, classes=LUNG, **settings):
    return tiny_data(pack, masking=None, masks=MaskPolicy("lungs", classes), **settings)


def segmenter(classes=("lung",), **settings):
    backbone = settings.pop("backbone", None) or tiny_backbone(mask_token=False)
    optim = settings.pop("optim", None) or AdamWPolynomial(lr=1e-3, warmup_steps=0)
    return Segmenter(backbone=backbone, classes=list(classes), optim=optim, seed=7, **({"channels": 16} | settings))


@pytest.mark.parametrize("taps", ["last", "four"])
@pytest.mark.parametrize(("classes", "loss", "outputs"), [(LUNG, "bce", 1), (SIDES, "ce", 3)])
def test_logits_have_a_channel_for_one_class_and_a_background_for_several(taps, classes, loss, outputs):
    task = segmenter(classes, loss=loss, taps=taps).eval()
    with torch.no_grad():
        logits = task.logits(torch.randint(0, 256, (2, 1, 96, SIZE), dtype=torch.uint8))
        probabilities = task.probabilities(logits)
    assert (logits.shape, logits.dtype) == ((2, outputs, 96, SIZE), torch.float32)
    assert probabilities.shape == (2, len(classes), 96, SIZE)
    expected = logits.sigmoid() if outputs == 1 else logits.softmax(1)[:, 1:]
    torch.testing.assert_close(probabilities, expected)


def test_a_cnn_is_read_by_a_unet():
    backbone = timm.create_model("resnet18", num_classes=0)
    task = segmenter(backbone=backbone, decoder="unet").train()
    task(torch.rand(2, 3, SIZE, SIZE)).square().sum().backward()
    assert all(each.grad is not None for each in task.parameters() if each.requires_grad)


def test_validation_pools_the_pixels_of_every_film_once(pack_folder, tmp_path):
    data = masked_data(pack_folder, SIDES, crop=Crop(flip=0.0))
    task, table = segmenter(SIDES, loss="ce"), MetricsCsv(tmp_path)
    tiny_trainer(tmp_path, logger=table).fit(task, data)
    task.eval()
    rows, counts, losses = data.rows("val"), np.zeros((2, 4), np.int64), []
    for row in rows:
        batch = next(iter(data.local_loader(data.dataset(np.array([row])))))
        with torch.no_grad():
            logits = task.logits(batch["image"])
        predicted, truth = task.probabilities(logits)[0].numpy() > 0.5, data.mask_of(int(row))
        for number in range(2):
            p, t = predicted[number], truth == number + 1
            counts[number] += [(p & t).sum(), (p & ~t).sum(), (~p & t).sum(), (~p & ~t).sum()]
        losses.append(float(task.loss(logits, batch["mask"])))
    (recorded,) = [row for row in table.rows() if row["val/dice"]]
    expected = [dice(counts).mean(), jaccard(counts).mean(), np.mean(losses)]
    found = [float(recorded[name]) for name in ("val/dice", "val/jaccard", "val/loss")]
    assert found == pytest.approx(expected, rel=1e-5)


def test_counts_of_pixels_by_hand():
    mask = torch.tensor([[0, 1, 2, 2]], dtype=torch.uint8)[None, None]
    prediction = torch.tensor([[[[0, 1, 0, 0]], [[1, 0, 1, 0]]]]).bool()
    assert pixel_counts(prediction, mask).tolist() == [[[1, 0, 0, 3], [1, 1, 1, 1]]]


def test_a_class_that_nobody_shows_leaves_the_mean():
    assert mean_of_scored(np.array([0.5, np.nan])) == 0.5
    assert np.isnan(mean_of_scored(np.array([np.nan])))


def test_dropped_maps_are_those_of_the_global_batch(pack_folder, tmp_path):
    """Without BatchNorm in the way, micro-batches change nothing: drop path and dropout are drawn for all films."""
    weights = []
    for per_device in (8, 2):
        data = masked_data(pack_folder, per_device_batch=per_device)
        torch.manual_seed(0)
        backbone = tiny_backbone(mask_token=False, drop_path_rate=0.5)
        task = segmenter(backbone=backbone, dropout=0.5).double()
        task.on_train_epoch_start = lambda task=task: [
            module.eval() for module in task.modules() if isinstance(module, torch.nn.BatchNorm2d)
        ]
        settings = {"precision": "64-true", "accumulate_grad_batches": data.accumulation(1), "limit_val_batches": 0}
        tiny_trainer(tmp_path, **settings).fit(task, data)
        weights.append(torch.nn.utils.parameters_to_vector(task.parameters()).detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-12)


def test_rates_fall_with_depth_and_the_head_has_the_full_rate():
    """EVA-X's ids: embeddings 0, block i is i + 1, pyramid and head the last."""
    groups = parameter_groups(segmenter(), weight_decay=0.05, layer_decay=0.85)
    scale = {name: group["lr_scale"] for group in groups for name in group["param_names"]}
    decay = {name: group["weight_decay"] for group in groups for name in group["param_names"]}
    assert {value for name, value in scale.items() if name.startswith("head.")} == {1.0}
    assert scale["backbone.pos_embed"] == scale["backbone.patch_embed.proj.weight"] == pytest.approx(0.85**3)
    assert scale["backbone.blocks.1.attn.proj.weight"] == pytest.approx(0.85)
    assert not any(name.startswith(("backbone.norm", "backbone.fc_norm")) for name in scale)
    assert {decay[name] for name in decay if name.endswith("bias") or "head.pyramid.levels.0.1" in name} == {0.0}


def test_a_tiny_backbone_learns_the_lungs_of_four_films(pack_folder, tmp_path):
    data = masked_data(pack_folder, batch_size=4, augment=False)
    data.train_rows = data.train_rows[:4]
    data.groups, data.rows = [np.arange(4)], lambda *_: data.train_rows
    task, table = segmenter(optim=AdamWPolynomial(lr=1e-2, warmup_steps=0)), MetricsCsv(tmp_path)
    tiny_trainer(tmp_path, logger=table, max_epochs=40, check_val_every_n_epoch=40).fit(task, data)
    assert [float(row["val/dice"]) for row in table.rows() if row["val/dice"]][-1] > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "ce"}, r"model\.loss=ce: bce is of one class.*has 1: lung; use bce"),
        ({"classes": SIDES}, r"model\.loss=bce: .*has 2: right, left; use ce"),
        ({"decoder": "unet"}, r"model\.decoder=unet: this backbone is a ViT.*use upernet"),
        ({"dropout": 1.0}, r"model\.dropout=1\.0 must be in \[0, 1\)"),
    ],
)
def test_what_does_not_fit_is_said_with_the_fix(settings, message):
    with pytest.raises(ValueError, match=message):
        segmenter(**settings)


def test_a_cnn_without_unet_is_refused():
    with pytest.raises(ValueError, match=r"model\.decoder=upernet: this backbone is a CNN of stages; use unet"):
        segmenter(backbone=timm.create_model("resnet18", num_classes=0))


@pytest.mark.parametrize("key", ["loss", "decoder", "taps"])
def test_unknown_choices_are_named(key):
    with pytest.raises(Exception, match=f"model.{key}=other is not known|{key}"):
        segmenter(**{key: "other"})


def test_other_classes_than_the_data_s_are_refused(pack_folder, tmp_path):
    with pytest.raises(ValueError, match=r"are not the model's \['heart'\]; leave model\.classes to the data"):
        tiny_trainer(tmp_path).fit(segmenter(["heart"]), masked_data(pack_folder))
