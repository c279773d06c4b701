import pytest
import torch

from evax.heads import AttentiveClassifier, LinearClassifier


def test_the_linear_head_starts_near_even_odds():
    head = LinearClassifier(64, 3)
    assert head(torch.randn(5, 64)).abs().max() < 1e-2
    assert head.projection.weight.std().item() == pytest.approx(2e-5, rel=0.3)
    assert not head.projection.bias.any()


def test_the_attentive_head_reads_the_order_of_nothing_and_the_content_of_all():
    torch.manual_seed(0)
    head = AttentiveClassifier(32, 3, num_heads=4).eval()
    head.linear.projection.weight.data.mul_(1e3)
    tokens = torch.randn(2, 9, 32)
    changed = tokens.clone()
    changed[:, 4, 0] += 3  # one channel: LayerNorm removes a shift of all
    assert head(tokens).shape == (2, 3)
    torch.testing.assert_close(head(tokens), head(tokens.flip(1)), atol=1e-5, rtol=0)
    assert (head(tokens) - head(changed)).abs().max() > 1e-3


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"num_heads=5 does not divide the backbone's 32"):
        AttentiveClassifier(32, 3, num_heads=5)
