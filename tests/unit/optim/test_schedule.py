import pytest

from evax.optim.schedule import WarmupCosine, WarmupPolynomial


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.0), (5, 1.5e-3), (9, 2.7e-3), (10, 3e-3), (60, 1.505e-3), (110, 1e-5), (500, 1e-5)],
)
def test_rate_at_a_step(step, rate):
    schedule = WarmupCosine(peak=3e-3, warmup_steps=10, total_steps=110, final=1e-5)
    assert schedule(step) == pytest.approx(rate, rel=1e-12)


def test_falls_after_the_warm_up_and_never_below_final():
    schedule = WarmupCosine(peak=1.0, warmup_steps=3, total_steps=50, final=0.1)
    rates = [schedule(step) for step in range(3, 51)]
    assert rates == sorted(rates, reverse=True)
    assert min(rates) == pytest.approx(0.1)


def test_without_warm_up_the_first_step_has_the_peak():
    assert WarmupCosine(peak=0.5, warmup_steps=0, total_steps=4, final=0.0)(0) == 0.5


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"warmup_steps": 100}, "optim.warmup_epochs"),
        ({"warmup_steps": -1}, "optim.warmup_epochs"),
        ({"total_steps": 0}, "optim.warmup_epochs"),
        ({"final": 2.0}, "optim.final_lr"),
        ({"peak": -1.0}, "optim.final_lr"),
    ],
)
def test_impossible_settings_name_the_key(change, key):
    settings = {"peak": 1.0, "warmup_steps": 10, "total_steps": 100, "final": 0.0} | change
    with pytest.raises(ValueError, match=key):
        WarmupCosine(**settings)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 6e-11),  # 1e-6 of the rate
        (5, 6e-5 * (1e-6 + (1 - 1e-6) / 2)),
        (10, 6e-5),
        (199, 6e-5),  # the last of the first epoch
        (200, 6e-5 * 0.9),
        (1999, 6e-5 * 0.1),
        (2000, 0.0),
    ],
)
def test_polynomial_falls_after_every_epoch(step, rate):
    schedule = WarmupPolynomial(peak=6e-5, warmup_steps=10, warmup_ratio=1e-6, steps_per_epoch=200, epochs=10)
    assert schedule(step) == pytest.approx(rate, rel=1e-9, abs=1e-18)


def test_a_polynomial_warm_up_may_outlast_epochs():
    schedule = WarmupPolynomial(peak=1.0, warmup_steps=4, warmup_ratio=0.0, steps_per_epoch=2, epochs=2, final=0.5)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.0, 0.25, 0.5 * 0.75, 0.75 * 0.75, 0.5])


def test_its_power_bends_the_line():
    schedule = WarmupPolynomial(
        peak=1.0, warmup_steps=0, warmup_ratio=0.0, steps_per_epoch=1, epochs=4, final=0.0, power=2.0
    )
    assert [schedule(step) for step in range(5)] == pytest.approx([1.0, 0.5625, 0.25, 0.0625, 0.0])


@pytest.mark.parametrize(
    ("change", "key"),
    [({"warmup_steps": -1}, "warmup_steps"), ({"warmup_ratio": 2.0}, "warmup_ratio"), ({"power": 0.0}, "power")],
)
def test_an_impossible_polynomial_names_the_key(change, key):
    settings = {"peak": 1.0, "warmup_steps": 1, "warmup_ratio": 0.0, "steps_per_epoch": 2, "epochs": 2} | change
    with pytest.raises(ValueError, match=rf"optim\.{key}"):
        WarmupPolynomial(**settings)
