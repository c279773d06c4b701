import pytest
import torch
from tiny import tiny_data, tiny_task, tiny_trainer

from evax.callbacks.non_finite import NonFiniteError, NonFiniteGuard
from evax.tokenizers import HogTokenizer


class Planted(HogTokenizer):
    """HOG with one infinite target batch."""

    def __init__(self, bad_batch: int) -> None:
        super().__init__()
        self.bad_batch, self.seen = bad_batch, 0

    def forward(self, images):
        self.seen += 1
        target = super().forward(images)
        return torch.full_like(target, torch.inf) if self.seen == self.bad_batch else target


@pytest.mark.parametrize("loss", ["cosine", "squared"])
def test_a_planted_batch_stops_training_and_is_named_by_its_rows(pack_folder, tmp_path, loss):
    task = tiny_task(tokenizer=Planted(bad_batch=6), loss=loss)  # 4 films a batch: the second half of step 3
    data = tiny_data(pack_folder, per_device_batch=4)
    seen = []
    step = task.training_step

    def training_step(batch, batch_idx):
        seen.append(batch["row"].tolist())
        return step(batch, batch_idx)

    task.training_step = training_step
    trainer = tiny_trainer(tmp_path, callbacks=[NonFiniteGuard()], accumulate_grad_batches=2)
    with pytest.raises(NonFiniteError) as error:
        trainer.fit(task, data)
    assert len(seen) == 6
    assert f"at step 3 (epoch 0), pack rows {seen[5]};" in str(error.value)
    assert all(torch.isfinite(p).all() for p in task.parameters())


def test_the_error_names_no_film(pack_folder, tmp_path):
    data = tiny_data(pack_folder)
    trainer = tiny_trainer(tmp_path, callbacks=[NonFiniteGuard()])
    with pytest.raises(NonFiniteError) as error:
        trainer.fit(tiny_task(tokenizer=Planted(1)), data)
    assert "phantom" not in str(error.value)


def test_finite_losses_pass(pack_folder, tmp_path):
    trainer = tiny_trainer(tmp_path, callbacks=[NonFiniteGuard()])
    trainer.fit(tiny_task(), tiny_data(pack_folder))
    assert trainer.global_step == 5
