import pytest
import torch
from torch.nn import functional as F

from evax.losses.cosine import cosine_loss, token_cosine
from evax.tasks.agreement import Agreement

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tokens():
    """Predictions and targets of 60 hidden tokens, targets of very different lengths."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(60, 5, generator=generator) + torch.tensor([1.0, 0, 0, 0.5, 0])
    target *= torch.rand(60, 1, generator=generator) * 100
    return torch.randn(60, 5, generator=generator), target


def scores_of(prediction, target, sizes):
    agreement = Agreement(5)
    for p, t in zip(prediction.split(sizes), target.split(sizes), strict=True):
        agreement.add(p, t, cosine_loss(p, t))
    return {name: value.item() for name, value in Agreement.scores(agreement.sums(CPU)).items()}


def test_loss_and_cosine_are_means_over_tokens(tokens):
    scores = scores_of(*tokens, [60])
    assert scores["cosine"] == pytest.approx(token_cosine(*tokens).mean().item(), abs=1e-6)
    assert scores["loss"] == pytest.approx(1 - scores["cosine"], abs=1e-6)


@pytest.mark.parametrize("sizes", [[30, 30], [1, 59], [7, 20, 3, 30], [1] * 60])
def test_batching_changes_nothing(tokens, sizes):
    assert scores_of(*tokens, sizes) == pytest.approx(scores_of(*tokens, [60]), abs=1e-6)


def test_sums_of_ranks_add_up(tokens):
    prediction, target = tokens
    ranks = [Agreement(5), Agreement(5)]
    for agreement, part in zip(ranks, (slice(0, 13), slice(13, 60)), strict=True):
        agreement.add(prediction[part], target[part], cosine_loss(prediction[part], target[part]))
    together = Agreement.scores(ranks[0].sums(CPU) + ranks[1].sums(CPU))
    assert {name: value.item() for name, value in together.items()} == pytest.approx(
        scores_of(prediction, target, [60]), abs=1e-6
    )


def test_the_mean_unit_target_is_the_best_constant(tokens):
    _, target = tokens
    constant = scores_of(*tokens, [60])["cosine_constant"]
    best = F.normalize(target, dim=-1).mean(0)
    assert token_cosine(best.expand(60, -1), target).mean().item() == pytest.approx(constant, abs=1e-6)
    others = torch.randn(500, 5, generator=torch.Generator().manual_seed(1))
    near = best + 0.1 * others
    for direction in torch.cat([others, near]):
        assert token_cosine(direction.expand(60, -1), target).mean().item() <= constant + 1e-6


def test_a_constant_prediction_has_no_excess_and_a_perfect_one_has_all(tokens):
    _, target = tokens
    best = F.normalize(target, dim=-1).mean(0).expand(60, -1)
    assert scores_of(best, target, [60])["cosine_excess"] == pytest.approx(0, abs=1e-6)
    perfect = scores_of(target, target, [60])
    assert perfect["cosine_excess"] == pytest.approx(1 - perfect["cosine_constant"], abs=1e-6)
