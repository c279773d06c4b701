"""What `plan=true` says, and that it leaves nothing behind."""

import pytest
from composing import composed
from training_runs import TINY, command, finish, start

from evax.commands.train.plan import (
    Cost,
    Pace,
    Stopwatch,
    cost,
    largest_fitting_batch,
    num_devices,
    pace_that_fits,
    plan,
)
from evax.config import ConfigError, instantiate


def test_a_recipe_costs_its_steps_at_the_measured_speed():
    assert cost(films=1000, batch_size=64, epochs=3, step_seconds=2.0, devices=8) == Cost(45, 0.025, 0.2)


def test_the_fitting_batch_lies_on_the_line_through_two_measurements():
    assert (
        largest_fitting_batch(8, bytes_at_batch=180, bytes_at_double=260, usable_bytes=505) == 40
    )  # 100 and 10 a film
    assert largest_fitting_batch(8, bytes_at_batch=180, bytes_at_double=260, usable_bytes=90) == 0
    assert largest_fitting_batch(8, bytes_at_batch=180, bytes_at_double=180, usable_bytes=500) is None


def test_the_first_steps_are_not_counted():
    watch = Stopwatch()
    watch.steps = [(9.0, 9.0)] * 5 + [(1.0, 3.0), (2.0, 2.0), (0.0, 0.0)]  # the last one has only begun
    pace = watch.pace(peak_bytes=0)
    assert (pace.steps, pace.step_seconds, pace.waiting_seconds) == (2, 4.0, 1.5)


def test_a_run_of_one_step_is_counted():
    watch = Stopwatch()
    watch.steps = [(1.0, 3.0), (0.0, 0.0)]
    assert watch.pace(peak_bytes=0).steps == 1


def test_a_plan_of_a_resumed_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^plan=true is of a new run; leave out resume="):
        plan(composed("plan=true", f"resume={tmp_path}"))


def test_a_plan_is_told_and_leaves_nothing_behind(run_pack, tmp_path):
    words = [*TINY, "plan=true", f"data.pack={run_pack}", f"paths.runs={tmp_path / 'runs'}"]
    output = finish(start(command(*words, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")))
    assert "plan of run: 4 films a step, 2 device(s), measured on one" in output
    for line in ("speed", "data", "peak memory", "fits", "whole recipe   30 steps"):
        assert f"  {line}" in output
    assert not list(tmp_path.iterdir())


def test_a_fine_tuning_is_planned(probe_pack, tmp_path, caplog):
    caplog.set_level("INFO")
    small = ("image_size=32", "batch_size=16", "trainer.accelerator=cpu", f"data.pack={probe_pack}")
    cfg = composed("experiment=demo_finetune", *small, f"paths.runs={tmp_path}")
    assert plan(cfg).steps == 10 * (instantiate(cfg.data).films_per_epoch // 16)
    assert "plan of demo_finetune: 16 films a step" in caplog.text


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    def taken(cfg, micro_batch, accumulation, steps):
        assert micro_batch * accumulation == 12
        if micro_batch > 3:
            raise MemoryError
        return Pace(1, 1.0, 0.0, 7)

    monkeypatch.setattr("evax.commands.train.plan.measured", taken)
    assert pace_that_fits(composed("trainer.accelerator=cpu"), 12, 12) == (3, Pace(1, 1.0, 0.0, 7))


def test_devices_of_other_machines_are_counted():
    assert num_devices(composed("trainer.devices=8", "trainer.num_nodes=2")) == 16


def test_a_plan_of_several_runs_is_refused(run_pack, tmp_path):
    words = [*TINY, "plan=true", f"data.pack={run_pack}", f"hydra.sweep.dir={tmp_path / 'sweep'}", "-m"]
    assert "plan=true is of one run; leave out -m" in finish(start(command(*words)), expected=1)


def test_a_plan_of_what_no_run_could_be_is_refused():
    with pytest.raises(ConfigError, match=r"protocol=official: pre-training has one protocol, clean"):
        plan(composed("plan=true", "protocol=official"))
