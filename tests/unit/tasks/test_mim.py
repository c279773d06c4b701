import copy

import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from tiny import batch_of, tiny_backbone, tiny_data, tiny_task, tiny_trainer
from torch import nn

from evax.data.pixels import normalise
from evax.tokenizers import HogTokenizer, PixelTokenizer, Tokenizer


class Mirror(Tokenizer):
    """A frozen copy of the student: its final tokens are the targets."""

    def __init__(self, student) -> None:
        super().__init__()
        self.student = copy.deepcopy(student)
        self.patch_size, self.dim = student.patch_size, student.embed_dim

    def forward(self, images):
        config = self.student.pretrained_cfg
        return self.student.forward_tokens(normalise(images, config["mean"], config["std"]))


class Memory(DummyLogger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.logged = []

    def log_metrics(self, metrics, step=None):
        self.logged.append((step, metrics))

    def column(self, name):
        return {step: metrics[name] for step, metrics in self.logged if name in metrics}


def gradients(task, batch):
    task.zero_grad()
    images = task.unit_images(batch["image"])
    task.loss(task.predict(images, batch["is_masked"]), task.target(images)[batch["is_masked"]]).backward()
    return {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}


@pytest.fixture
def data(pack_folder):
    return tiny_data(pack_folder)


def mirrored_task():
    """A student that must already be right: its head is the identity, and it is shown everything."""
    backbone = tiny_backbone()
    task = tiny_task(backbone=backbone, tokenizer=Mirror(backbone))
    nn.init.eye_(task.head.projection.weight)
    whole = backbone.forward_tokens
    backbone.forward_tokens = lambda images, is_masked=None: whole(images)
    return task


def test_a_student_that_is_its_own_tokenizer_has_no_loss(data, tmp_path):
    trainer = tiny_trainer(tmp_path)
    trainer.validate(mirrored_task(), data, verbose=False)
    scores = trainer.callback_metrics
    assert abs(scores["val/loss"]) <= 1e-6
    assert scores["val/cosine"] >= 1 - 1e-6
    assert scores["val/cosine_constant"] < 0.999


def test_the_identity_breaks_when_targets_change_places(data):
    task, batch = mirrored_task(), batch_of(data)
    images = task.unit_images(batch["image"])
    prediction = task.predict(images, batch["is_masked"])
    assert task.loss(prediction, task.target(images)[batch["is_masked"]]) <= 1e-6
    assert task.loss(prediction, task.target(images.flip(-1))[batch["is_masked"]]) > 1e-4


def test_the_tokenizer_is_no_part_of_the_task():
    student = tiny_backbone()
    task = tiny_task(backbone=student, tokenizer=Mirror(student))
    task.train()
    kept = {id(p) for p in task.parameters()}
    assert not any("tokenizer" in name for name in task.state_dict())
    assert not any(id(p) in kept or p.requires_grad for p in task.tokenizer.parameters())
    assert not any(module.training for module in task.tokenizer.modules())
    assert task.backbone.training


def test_training_leaves_the_tokenizer_as_it_was(data, tmp_path):
    backbone = tiny_backbone()
    task = tiny_task(backbone=backbone, tokenizer=Mirror(backbone))
    before = copy.deepcopy(task.tokenizer.state_dict())
    tiny_trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(task, data)
    assert all(torch.equal(value, before[name]) for name, value in task.tokenizer.state_dict().items())
    assert not torch.equal(task.backbone.pos_embed, before["student.pos_embed"])
    assert not task.tokenizer.training


def test_targets_are_of_the_whole_film_and_carry_no_gradient(data):
    task, batch = tiny_task(), batch_of(data)
    images = task.unit_images(batch["image"])
    target = task.target(images)
    assert torch.equal(target, HogTokenizer()(images))
    assert not target.requires_grad


def test_the_loss_reads_hidden_patches_only(data):
    task, batch = tiny_task(), batch_of(data)
    images, is_masked = task.unit_images(batch["image"]), batch["is_masked"]
    assert task.predict(images, is_masked).shape == (is_masked.sum(), task.tokenizer.dim)


def test_the_training_loss_is_of_hidden_patches_and_their_own_targets(data):
    task, batch = tiny_task(loss="squared"), batch_of(data)
    task.record_loss = lambda loss: None
    images, is_masked = task.unit_images(batch["image"]), batch["is_masked"]
    predicted = task.head.projection(task.backbone.forward_tokens(task.student_input(images), is_masked))
    errors = (predicted - HogTokenizer()(images)).square().mean(-1)
    assert task.training_step(batch, 0).item() == pytest.approx(errors[is_masked].mean().item(), rel=1e-5)


def test_the_patch_kernel_learns_at_a_tenth(data):
    start, batch = tiny_task(patch_embed_gradient=1.0), batch_of(data)
    task = tiny_task(backbone=copy.deepcopy(start.backbone), patch_embed_gradient=0.1)
    task.head.load_state_dict(start.head.state_dict())
    whole, scaled = gradients(start, batch), gradients(task, batch)
    assert whole.keys() == scaled.keys()
    for name, gradient in whole.items():
        factor = 0.1 if "patch_embed" in name else 1.0
        assert torch.allclose(scaled[name], gradient * factor, rtol=1e-5, atol=1e-10), name


def test_rates_follow_the_schedule_under_accumulation(pack_folder, tmp_path):
    data, task, memory = tiny_data(pack_folder, per_device_batch=4), tiny_task(), Memory()
    trainer = tiny_trainer(tmp_path, max_epochs=2, logger=memory, accumulate_grad_batches=data.accumulation(1))
    used = []
    task.on_before_optimizer_step = lambda optimizer: used.append([g["lr"] for g in optimizer.param_groups])
    trainer.fit(task, data)
    schedule = task.optim.schedule(steps_per_epoch=5, epochs=2)
    expected = [schedule(step) for step in range(10)]
    assert used == [[rate] * len(used[0]) for rate in expected]
    assert list(memory.column("train/lr").items()) == list(enumerate(expected, start=1))
    assert list(memory.column("train/loss")) == list(range(1, 11))
    assert memory.column("trainer/samples_seen")[10] == 80


def test_validation_is_recorded_with_the_step_it_follows(data, tmp_path):
    task, memory = tiny_task(), Memory()
    tiny_trainer(tmp_path, max_epochs=2, logger=memory).fit(task, data)
    for name in ("loss", "cosine", "cosine_constant", "cosine_excess"):
        assert list(memory.column(f"val/{name}")) == [5, 10]
    constant = memory.column("val/cosine_constant")
    assert constant[5] == pytest.approx(constant[10], abs=1e-12)  # of the targets alone, whose masks are fixed


def test_weights_do_not_depend_on_accumulation_or_on_global_seeds(pack_folder, tmp_path):
    start, results = tiny_task(backbone=tiny_backbone(drop_path_rate=0.5)), []
    for number, per_device in enumerate((8, 4, 2)):
        task, data = copy.deepcopy(start).double(), tiny_data(pack_folder, per_device_batch=per_device)
        torch.manual_seed(number)
        trainer = tiny_trainer(tmp_path, accumulate_grad_batches=data.accumulation(1), limit_val_batches=0)
        trainer.fit(task, data)
        results.append(torch.cat([p.detach().flatten() for p in task.parameters()]))
    for result in results[1:]:
        assert (result - results[0]).norm() / results[0].norm() < 1e-9


def test_the_loss_is_the_tokenizers_unless_named():
    names = [tiny_task(tokenizer=PixelTokenizer()).loss, tiny_task(loss="cosine").loss]
    assert [loss.__name__ for loss in names] == ["squared_loss", "cosine_loss"]


def test_another_patch_size_names_both():
    with pytest.raises(ValueError, match=r"tokenizer\.patch_size=8 .*patches have 16 pixels"):
        tiny_task(tokenizer=HogTokenizer(patch_size=8))


def test_training_without_an_end_is_refused(data, tmp_path):
    with pytest.raises(ValueError, match=r"trainer\.max_epochs must be set"):
        tiny_trainer(tmp_path, max_epochs=-1).fit(tiny_task(), data)
