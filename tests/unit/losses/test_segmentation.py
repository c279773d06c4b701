"""Losses of masks against values made by hand."""

import math

import pytest
import torch

from evax.losses import bce_loss, ce_loss, dice_loss, jaccard_loss

MASK = torch.tensor([[1, 0], [1, 0]], dtype=torch.uint8)[None, None]
THREE = math.log(3)  # the logit of 3/4


def logits_of(probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).logit()[None, None]


def test_bce_is_the_mean_over_pixels():
    logits = logits_of([[0.75, 0.75], [0.5, 0.25]])
    expected = -(math.log(0.75) + math.log(0.25) + math.log(0.5) + math.log(0.75)) / 4
    assert float(bce_loss(logits, MASK)) == pytest.approx(expected)


def test_ce_is_the_mean_over_pixels_of_classes_and_background():
    mask = torch.tensor([[0, 2]], dtype=torch.uint8)[None, None]
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 2, 0, 1] = THREE  # softmax of the second pixel: 1/5, 1/5, 3/5
    assert float(ce_loss(logits, mask)) == pytest.approx((math.log(3) + math.log(5 / 3)) / 2)


def test_overlaps_of_one_class():
    logits = logits_of([[0.75, 0.75], [0.5, 0.25]])  # p y sums to 1.25, p to 2.25, y to 2
    assert float(dice_loss(logits, MASK)) == pytest.approx(1 - 2.5 / 4.25)
    assert float(jaccard_loss(logits, MASK)) == pytest.approx(1 - 1.25 / 3)


def test_overlaps_of_several_classes_leave_the_background_out():
    mask = torch.tensor([[0, 1, 2]], dtype=torch.uint8)[None, None]
    logits = torch.zeros(1, 3, 1, 3)
    logits[0, 1, 0, 1] = logits[0, 2, 0, 2] = THREE
    # of class 1: p is 1/3, 3/5, 1/5 with truth in the middle; of class 2 it is the mirror image
    assert float(dice_loss(logits, mask)) == pytest.approx(1 - 2 * 0.6 / (1 / 3 + 0.8 + 1))
    assert float(jaccard_loss(logits, mask)) == pytest.approx(1 - 0.6 / (1 / 3 + 0.8 + 1 - 0.6))


@pytest.mark.parametrize("loss", [dice_loss, jaccard_loss])
def test_an_overlap_is_pooled_over_the_films_and_zero_without_foreground(loss):
    logits, empty = logits_of([[0.75, 0.75], [0.5, 0.25]]), torch.zeros_like(MASK)
    assert float(loss(logits, empty)) == 0
    pooled = loss(logits.repeat(2, 1, 1, 1), torch.cat([MASK, empty]))
    wide = loss(torch.cat([logits, logits], -1), torch.cat([MASK, empty], -1))
    assert float(pooled) == pytest.approx(float(wide))
    assert float(pooled) > float(loss(logits, MASK))


@pytest.mark.parametrize(("loss", "channels"), [(bce_loss, 1), (ce_loss, 3), (dice_loss, 1), (jaccard_loss, 3)])
def test_other_values_than_classes_are_refused(loss, channels):
    with pytest.raises(ValueError, match=r"a mask holds 255, and there are [12] classes; let data\.masks say"):
        loss(torch.zeros(1, channels, 2, 2), MASK * 255)


@pytest.mark.parametrize(("loss", "channels"), [(bce_loss, 1), (ce_loss, 3), (dice_loss, 1), (jaccard_loss, 3)])
def test_halves_are_taken_in_float32(loss, channels):
    logits = torch.randn(1, channels, 2, 2).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(logits, MASK)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.float(), MASK))
