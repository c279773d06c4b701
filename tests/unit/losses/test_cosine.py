import pytest
import torch

from evax.losses import cosine_loss, token_cosine


@pytest.mark.parametrize(("prediction", "loss"), [((0.0, 3.0), 0.0), ((5.0, 0.0), 1.0), ((0.0, -1.0), 2.0)])
def test_distance_of_a_direction(prediction, loss):
    assert cosine_loss(torch.tensor([prediction]), torch.tensor([[0.0, 2.0]])) == pytest.approx(loss)


def test_loss_is_the_mean_over_tokens():
    prediction, target = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert token_cosine(prediction, target).tolist() == [1, -1]
    assert cosine_loss(prediction, target) == 1


def test_low_precision_is_scored_in_float32():
    prediction, target = torch.randn(4, 8, requires_grad=True), torch.randn(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cosine_loss(prediction.bfloat16(), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cosine_loss(prediction.bfloat16().float(), target))


def test_a_zero_target_gives_finite_gradients():
    prediction = torch.randn(3, 8, requires_grad=True)
    cosine_loss(prediction, torch.zeros(3, 8)).backward()
    assert prediction.grad.isfinite().all()


def test_no_masked_token_is_an_error():
    with pytest.raises(ValueError, match=r"no masked token; raise masking\.ratio"):
        cosine_loss(torch.zeros(0, 8), torch.zeros(0, 8))
