"""What W&B is told."""

import pytest
from composing import composed
from omegaconf import OmegaConf
from wandb_file import read_offline

from evax.callbacks.hosted import flat_settings, tags, wandb_logger
from evax.run import settled, train


@pytest.fixture(scope="module")
def config():
    return OmegaConf.to_container(settled(composed("experiment=demo_pretrain", "masking.ratio=0.25")))


@pytest.fixture(scope="module")
def hosted(pack_folder, tmp_path_factory):
    """Two jobs of a multirun, one after another in one process."""
    folder = tmp_path_factory.mktemp("2026-11-22_10-00-00")
    words = ["experiment=demo_pretrain", "debug=one_step", "image_size=32", "logger=wandb", f"data.pack={pack_folder}"]
    for number in (0, 1):
        quiet = ["~callbacks.feature_probe", "~callbacks.pictures", "~callbacks.progress"]
        train(composed(*words, *quiet, f"seed={number}"), folder / str(number))
    return folder, [read_offline(next((folder / str(number)).glob("wandb/*/*.wandb"))) for number in (0, 1)]


def test_settings_are_flat_and_stand_once(config):
    flat = flat_settings(config)
    assert flat["masking.ratio"] == 0.25
    assert flat["backbone.name"] == "eva_x_tiny"
    assert not any(key.startswith(("model.backbone", "data.masking", "paths", "callbacks")) for key in flat)


def test_settings_hold_no_path(config):
    assert not any("/" in str(value) for value in flat_settings(config).values())
    assert "data.pack" not in flat_settings(config)


def test_tags_name_the_choices(config):
    assert tags(config) == ["eva_x_tiny", "HogTokenizer", "PhantomData"]


def test_jobs_of_a_multirun_are_runs_of_one_group(hosted):
    folder, runs = hosted
    assert len({each.run.run_id for each in runs}) == 2
    for number, each in enumerate(runs):
        assert (each.run.run_group, each.run.job_type) == (folder.name, "MaskedImageModeling")
        assert list(each.run.tags) == ["eva_x_tiny", "HogTokenizer", "PhantomData"]
        assert each.run.display_name == f"{folder.name}/{number}"
        assert each.config["seed"] == number


def test_films_seen_are_the_axis(hosted):
    for each in hosted[1]:
        assert each.axes["*"] == "trainer/samples_seen"
        losses = {row["trainer/samples_seen"]: row["train/loss"] for row in each.history if "train/loss" in row}
        assert list(losses) == [2]


def test_a_resumed_run_goes_on_under_its_id_with_every_step_once(pack_folder, tmp_path):
    words = ["experiment=demo_pretrain", "image_size=32", "logger=wandb", f"data.pack={pack_folder}", "batch_size=8"]
    words += ["~callbacks.feature_probe", "~callbacks.pictures", "~callbacks.progress", "trainer.accelerator=cpu"]
    words += ["optim.warmup_epochs=0.5"]
    train(composed(*words, "trainer.max_epochs=1"), tmp_path / "run")
    more = ["trainer.max_epochs=2"]
    train(composed(f"resume={tmp_path / 'run'}", *more), tmp_path / "new", more)

    files = sorted((tmp_path / "run").glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime)
    first, second = map(read_offline, files)
    steps = [row["_step"] for each in (first, second) for row in each.history if "train/loss" in row]
    assert first.run.run_id == second.run.run_id
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) == 2 * len([row for row in first.history if "train/loss" in row])


def test_going_online_without_a_login_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ValueError, match=r"logger.wandb.offline=false needs a login"):
        wandb_logger(str(tmp_path), offline=False)
