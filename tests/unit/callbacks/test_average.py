import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from evax.callbacks.average import AveragedWeights


def averaged_over(steps, decay):
    """The average of a weight that is 0 at first and 1 after every later step, by torch's own bookkeeping."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(model.weight)
    average = AveragedModel(copy.deepcopy(model), **AveragedWeights(decay=decay)._kwargs)
    average.update_parameters(model)
    nn.init.ones_(model.weight)
    for _ in range(steps):
        average.update_parameters(model)
    return average.module.weight.item()


def test_a_short_training_forgets_its_first_weights():
    assert averaged_over(100, decay=0.999) > 0.999  # 0.095 by a fixed decay


def test_the_decay_rises_to_the_one_that_was_set():
    expected = 0.0
    for num_averaged in range(1, 41):
        held = min(0.5, (1 + num_averaged) / (10 + num_averaged))
        expected = held * expected + (1 - held)
    assert averaged_over(40, decay=0.5) == pytest.approx(expected, rel=1e-6)


def test_constant_weights_stay():
    model = nn.Linear(2, 2)
    average = AveragedModel(copy.deepcopy(model), **AveragedWeights()._kwargs)
    for _ in range(20):
        average.update_parameters(model)
    torch.testing.assert_close(average.module.weight, model.weight)


def test_a_decay_that_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match=r"callbacks\.ema\.decay=1\.0 must lie between 0 and 1"):
        AveragedWeights(decay=1.0)
