import numpy as np
import pytest
import torch
from tiny import tiny_backbone, tiny_data, tiny_task, tiny_trainer

from evax.backbones.drop_path import GlobalDropPath
from evax.callbacks.pictures import views
from evax.data.labels import LabelPolicy
from evax.data.masks import MaskPolicy
from evax.optim import AdamWCosine
from evax.tasks import Classifier, Segmenter


def factors_of(pack, folder, **settings):
    """Drop path factors (sample, layer) of the first two optimizer steps, as one rank uses them."""
    data = tiny_data(pack, **settings)
    task = tiny_task(backbone=tiny_backbone(drop_path_rate=0.5, depth=3))
    layers = [module for module in task.modules() if isinstance(module, GlobalDropPath)]
    drawn = []
    step = task.training_step

    def training_step(batch, batch_idx):
        drawn.append(torch.stack([layer.factors for layer in layers], dim=1))
        return step(batch, batch_idx)

    task.training_step = training_step
    trainer = tiny_trainer(folder, max_steps=2, limit_val_batches=0, accumulate_grad_batches=data.accumulation(1))
    trainer.fit(task, data)
    return torch.cat(drawn)


def test_micro_batches_use_slices_of_one_global_draw(pack_folder, tmp_path):
    whole = factors_of(pack_folder, tmp_path)
    assert whole.shape == (16, 4)
    assert torch.equal(factors_of(pack_folder, tmp_path, per_device_batch=2), whole)
    assert not torch.equal(whole[:8], whole[8:])


def test_bytes_become_inputs_in_the_backbones_precision():
    images = torch.full((1, 1, 64, 64), 128, dtype=torch.uint8)
    task = tiny_task()
    assert task.unit_images(images).dtype == torch.float32
    assert task.double().unit_images(images).dtype == torch.float64


def test_films_that_patches_do_not_cover_are_refused_with_the_nearest_sizes(pack_folder, tmp_path):
    data = tiny_data(pack_folder, image_size=60, masking=None)
    with pytest.raises(ValueError, match="image_size=60 is not a multiple of the patch size 16; use 48 or 64"):
        tiny_trainer(tmp_path).fit(tiny_task(), data)


def test_the_student_is_normalised_as_its_weights_ask():
    task = tiny_task()
    out = task.student_input(torch.full((1, 3, 16, 16), 0.5))
    assert out.mean().item() == pytest.approx((0.5 - 0.49185243) / 0.28509309, abs=1e-6)


@pytest.mark.parametrize(("algorithm", "largest"), [("norm", 1e-3), ("value", 1e-5)])
def test_gradients_are_clipped_under_autocast_too(pack_folder, tmp_path, algorithm, largest):
    task = tiny_task()
    seen = []
    task.on_train_batch_end = lambda *_: seen.extend(p.grad for p in task.parameters() if p.grad is not None)
    task.optimizer_zero_grad = lambda *_: None
    settings = {"gradient_clip_val": largest, "gradient_clip_algorithm": algorithm, "precision": "bf16-mixed"}
    tiny_trainer(tmp_path, max_steps=1, limit_val_batches=0, **settings).fit(task, tiny_data(pack_folder))
    measured = torch.stack([each.norm() if algorithm == "norm" else each.abs().max() for each in seen])
    assert (measured.norm() if algorithm == "norm" else measured.max()).item() == pytest.approx(largest, rel=1e-2)


def learner(kind, pack):
    """A task with a hand that is not steady: weights whose rounding shows in every score."""
    data = {
        "mim": lambda: tiny_data(pack),
        "classifier": lambda: tiny_data(pack, masking=None, labels=LabelPolicy()),
        "segmenter": lambda: tiny_data(pack, masking=None, masks=MaskPolicy("lungs", {"lung": [1, 2]})),
    }[kind]()
    torch.manual_seed(0)
    if kind == "mim":
        task = tiny_task()
    else:
        parts = {"backbone": tiny_backbone(mask_token=False), "classes": list(data.classes), "seed": 7}
        optim = AdamWCosine(lr=1e-3, final_lr=1e-5, warmup_epochs=0.5)
        task = (Classifier if kind == "classifier" else Segmenter)(**parts, optim=optim)
    for weight in task.head.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return data, task


@pytest.mark.parametrize("kind", ["mim", "classifier", "segmenter"])
def test_a_trainer_of_bf16_validates_as_one_of_float32(kind, pack_folder, tmp_path):
    found = {}
    for precision in ("32-true", "bf16-mixed", "64-true"):
        data, task = learner(kind, pack_folder)
        tiny_trainer(tmp_path, precision=precision).validate(task, data, verbose=False)
        found[precision] = dict(task.latest)
    assert set(found["32-true"]) - {"val/num_findings", "val/num_classes"} == set(task.monitors)
    assert found["bf16-mixed"] == found["32-true"]
    assert found["64-true"] == pytest.approx(found["32-true"], rel=1e-4)
    assert found["64-true"]["val/loss"] != found["32-true"]["val/loss"]


def test_pictures_show_what_float32_gives(pack_folder):
    data, task = learner("mim", pack_folder)
    exact = views(data, task.eval(), 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = views(data, task, 2)
    np.testing.assert_array_equal(again.cosine, exact.cosine)
    np.testing.assert_array_equal(again.colours, exact.colours)
