import copy

import torch
from torch import nn

from evax.optim.gradients import scale_gradient


def gradients(module, inputs):
    module.zero_grad()
    module(inputs).square().sum().backward()
    return [p.grad.clone() for p in module.parameters()]


def test_gradients_are_scaled_and_the_output_is_not():
    plain = nn.Linear(3, 2)
    scaled, inputs = copy.deepcopy(plain), torch.randn(4, 3)
    scale_gradient(scaled, 0.1)
    assert torch.equal(scaled(inputs), plain(inputs))
    for ours, whole in zip(gradients(scaled, inputs), gradients(plain, inputs), strict=True):
        assert torch.allclose(ours, 0.1 * whole)


def test_it_equals_mixing_the_detached_output():
    plain = nn.Linear(3, 2)
    scaled, inputs = copy.deepcopy(plain), torch.randn(4, 3)
    scale_gradient(scaled, 0.1)
    output = plain(inputs)
    (0.1 * output + 0.9 * output.detach()).square().sum().backward()
    for ours, parameter in zip(gradients(scaled, inputs), plain.parameters(), strict=True):
        assert torch.allclose(ours, parameter.grad, rtol=1e-4)


def test_accumulated_gradients_are_scaled_once():
    plain = nn.Linear(3, 2)
    scaled, inputs = copy.deepcopy(plain), torch.randn(4, 3)
    scale_gradient(scaled, 0.1)
    for _ in range(3):
        scaled(inputs).square().sum().backward()
    assert torch.allclose(scaled.weight.grad, 0.3 * gradients(plain, inputs)[0])


def test_what_lies_before_the_module_is_not_scaled():
    first, second, inputs = nn.Linear(3, 3), nn.Linear(3, 2), torch.randn(4, 3)
    whole = gradients(nn.Sequential(first, second), inputs)
    scale_gradient(second, 0.1)
    scaled = gradients(nn.Sequential(first, second), inputs)
    assert torch.equal(scaled[0], whole[0])


def test_factor_one_adds_no_hook():
    module = nn.Linear(3, 2)
    scale_gradient(module, 1.0)
    assert not module.weight._backward_hooks


def test_factor_zero_equals_the_detached_output():
    first, second, inputs = nn.Linear(3, 3), nn.Linear(3, 2), torch.randn(4, 3)
    second(first(inputs).detach()).square().sum().backward()
    detached = second.weight.grad.clone()
    scale_gradient(first, 0.0)
    second.zero_grad()
    second(first(inputs)).square().sum().backward()
    assert first.weight.grad is None
    assert torch.equal(second.weight.grad, detached)
