import pytest
import torch

from evax.heads import TokenPredictionHead


def test_predicts_masked_tokens_in_the_order_of_boolean_indexing():
    head = TokenPredictionHead(4, 6)
    features = torch.randn(2, 5, 4)
    is_masked = torch.rand(2, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    everything = head(features, torch.ones(2, 5, dtype=torch.bool)).reshape(2, 5, 6)
    torch.testing.assert_close(head(features, is_masked), everything[is_masked])


def test_visible_tokens_get_no_gradient():
    features = torch.randn(1, 3, 4, requires_grad=True)
    TokenPredictionHead(4, 6)(features, torch.tensor([[True, False, True]])).sum().backward()
    assert features.grad.abs().sum(dim=-1).bool().tolist() == [[True, False, True]]


def test_starts_xavier_normal_with_zero_bias():
    torch.manual_seed(0)
    projection = TokenPredictionHead(192, 768).projection
    assert projection.weight.std().item() == pytest.approx((2 / (192 + 768)) ** 0.5, rel=0.02)
    assert projection.weight.abs().max() > 0.12  # a uniform draw of the same spread ends at 0.079
    assert projection.bias.abs().max() == 0
