import pytest
import torch

from evax.losses import squared_loss


def test_mean_over_tokens_and_components():
    assert squared_loss(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)) == 1.25


def test_low_precision_is_scored_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = squared_loss(torch.full((1, 4), 16.0).bfloat16(), torch.full((1, 4), 0.75).bfloat16())
    assert loss.dtype == torch.float32
    assert loss == 15.25**2  # not a bfloat16 number


def test_no_masked_token_is_an_error():
    with pytest.raises(ValueError, match=r"no masked token; raise masking\.ratio"):
        squared_loss(torch.zeros(0, 8), torch.zeros(0, 8))
