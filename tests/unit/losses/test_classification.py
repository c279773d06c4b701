import pytest
import torch

from evax.losses import binary_loss, exclusive_loss

LOGITS = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
KNOWN = torch.ones(2, 2, dtype=torch.bool)


def test_binary_loss_is_the_plain_mean_where_all_is_known():
    probability = 1 / (1 + torch.exp(-LOGITS))
    by_hand = -(TARGETS * probability.log() + (1 - TARGETS) * (1 - probability).log()).mean()
    assert binary_loss(LOGITS, TARGETS, KNOWN) == pytest.approx(by_hand.item(), abs=1e-6)


def test_an_unknown_label_gives_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    binary_loss(logits, TARGETS, torch.tensor([[True, False], [True, True]])).backward()
    assert logits.grad[0, 1] == 0
    assert (logits.grad != 0).sum() == 3


@pytest.mark.parametrize("loss", [binary_loss, exclusive_loss])
def test_the_mean_over_parts_is_the_loss_of_the_whole(loss):
    known = torch.tensor([[True, True], [False, False]])
    parts = [loss(LOGITS[i : i + 1], TARGETS[i : i + 1], known[i : i + 1]) for i in range(2)]
    assert loss(LOGITS, TARGETS, known) == pytest.approx(sum(part.item() for part in parts) / 2, abs=1e-7)


def test_exclusive_loss_is_minus_the_log_of_the_right_class():
    by_hand = -LOGITS.softmax(1)[[0, 1], [0, 1]].log().mean()
    assert exclusive_loss(LOGITS, TARGETS, KNOWN) == pytest.approx(by_hand.item(), abs=1e-6)


@pytest.mark.parametrize("loss", [binary_loss, exclusive_loss])
def test_half_precision_is_lifted(loss):
    assert loss(LOGITS.bfloat16(), TARGETS, KNOWN).dtype == torch.float32
