import pytest
import torch
from torch import nn

from evax.optim import AdamWCosine, AdamWPolynomial, SGDPolynomial


def test_the_schedule_is_stated_in_epochs():
    schedule = AdamWCosine(lr=1.0, final_lr=0.1, warmup_epochs=0.5).schedule(steps_per_epoch=10, epochs=3)
    assert (schedule.warmup_steps, schedule.total_steps) == (5, 30)
    assert [schedule(step) for step in (0, 5, 30)] == pytest.approx([0.0, 1.0, 0.1])


def test_the_optimizer_has_the_recipes_settings():
    optimizer = AdamWCosine(lr=0.2, weight_decay=0.3, betas=[0.8, 0.9], eps=1e-4).build(nn.Linear(2, 2))
    assert {group["name"]: group["weight_decay"] for group in optimizer.param_groups} == {"decay": 0.3, "no_decay": 0}
    assert all(group["lr"] == 0.2 for group in optimizer.param_groups)
    assert all((group["betas"], group["eps"]) == ((0.8, 0.9), 1e-4) for group in optimizer.param_groups)
    assert all(group["fused"] for group in optimizer.param_groups)


def test_a_final_rate_above_the_peak_is_refused():
    with pytest.raises(ValueError, match=r"optim\.final_lr=0\.2 must be between 0 and optim\.lr=0\.1"):
        AdamWCosine(lr=0.1, final_lr=0.2)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_warm_up_as_long_as_training_is_refused(epochs):
    with pytest.raises(ValueError, match=f"optim.warmup_epochs=2.0 must be less than trainer.max_epochs={epochs}"):
        AdamWCosine(warmup_epochs=2.0).schedule(10, epochs)


def test_a_final_rate_equal_to_the_peak_is_fixed_after_the_warm_up():
    schedule = AdamWCosine(lr=0.1, final_lr=0.1, warmup_epochs=1.0).schedule(steps_per_epoch=4, epochs=3)
    assert [schedule(step) for step in range(0, 13, 2)] == pytest.approx([0, 0.05] + [0.1] * 5)


def test_the_rate_scales_with_the_batch_only_where_it_says_per_what():
    assert AdamWCosine(lr=0.1, batch_size=1024).build(nn.Linear(2, 2)).param_groups[0]["lr"] == 0.1
    per_256 = AdamWCosine(lr=0.1, lr_per=256, batch_size=1024)
    assert per_256.schedule(4, 3).peak == pytest.approx(0.4)
    with pytest.raises(ValueError, match=r"optim\.lr_per=256 .* optim\.batch_size"):
        AdamWCosine(lr_per=256)


def test_the_polynomial_recipe_warms_up_for_steps_and_epochs():
    schedule = AdamWPolynomial(lr=1.0, warmup_epochs=0.5).schedule(steps_per_epoch=10, epochs=3)
    assert (schedule.warmup_steps, schedule.epochs, schedule(30)) == (15, 3, 0.0)
    optimizer = AdamWPolynomial(lr=0.2, weight_decay=0.3).build(nn.Linear(2, 2))
    assert {group["name"]: group["weight_decay"] for group in optimizer.param_groups} == {"decay": 0.3, "no_decay": 0}
    assert all(
        (group["lr"], group["betas"], group["eps"]) == (0.2, (0.9, 0.999), 1e-8) for group in optimizer.param_groups
    )


@pytest.mark.parametrize(("key", "value"), [("final_lr", 1.0), ("layer_decay", 0.0)])
def test_the_polynomial_recipe_refuses_what_the_cosine_does(key, value):
    with pytest.raises(ValueError, match=rf"optim\.{key}={value}"):
        AdamWPolynomial(**{key: value})


def test_sgd_has_the_same_schedule_and_settings_of_its_own():
    recipe = SGDPolynomial(lr=0.2, weight_decay=0.3, warmup_epochs=0.5)
    assert recipe.schedule(10, 3) == AdamWPolynomial(lr=0.2, warmup_epochs=0.5).schedule(10, 3)
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = recipe.build(model)
    for gradient in (1.0, 0.0):  # steps of 0.2 * (1 + 0.3 * 1), then 0.2 * (0.9 * 1.3 + 0.3 * 0.74)
        model.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
    assert model.weight.item() == pytest.approx(1 - 0.2 * 1.3 - 0.2 * (0.9 * 1.3 + 0.3 * 0.74))
