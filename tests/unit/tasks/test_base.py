import pytest
import torch
from tiny import tiny_backbone, tiny_data, tiny_task, tiny_trainer

from evax.backbones.drop_path import GlobalDropPath


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
