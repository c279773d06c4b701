"""Errors as users read them, and the folders that Hydra makes before a command has said a word."""

import pytest
from omegaconf import OmegaConf

from evax.checkpoints.errors import WeightsError
from evax.config import EmptyFolders, explain
from evax.data.checks import check_batch


@pytest.fixture
def folders(tmp_path):
    """The hook, told of a run and a multirun below `tmp_path / "runs"`, which were then made."""
    (tmp_path / "packs").mkdir()
    run, sweep = tmp_path / "runs" / "name" / "now", tmp_path / "packs" / "multirun" / "now"

    def start(kind):
        hook = EmptyFolders()
        config = OmegaConf.create({"hydra": {"run": {"dir": str(run)}, "sweep": {"dir": str(sweep)}}})
        hook.on_run_start(config) if kind == "run" else hook.on_multirun_start(config)
        made = run if kind == "run" else sweep / "0"
        made.mkdir(parents=True)
        return made

    yield start
    EmptyFolders.made.clear()


def test_folders_that_stayed_empty_go_with_those_that_were_made_for_them(folders, tmp_path):
    folders("run")
    EmptyFolders.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["packs"]  # which was empty before


def test_a_folder_with_a_run_stays(folders, tmp_path):
    (folders("run") / "config.yaml").touch()
    EmptyFolders.remove()
    assert (tmp_path / "runs" / "name" / "now" / "config.yaml").exists()


def test_a_multirun_without_a_job_goes_and_one_with_a_record_stays(folders, tmp_path):
    job = folders("multirun")
    (job.parent / "multirun.yaml").touch()
    EmptyFolders.remove()
    assert not list((tmp_path / "packs").iterdir())
    job = folders("multirun")
    (job.parent / "multirun.yaml").touch()
    (job / "job.json").touch()
    EmptyFolders.remove()
    assert {path.name for path in job.parent.iterdir()} == {"multirun.yaml", "0"}


def raised(make):
    with pytest.raises(Exception) as caught:
        make()
    return explain(caught.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: check_batch(9, 8), "batch_size=9 is more than 8 training images; use batch_size=1"),
        (lambda: open("/nonexistent/x"), "/nonexistent/x: No such file or directory"),  # noqa: PTH123, SIM115
        (lambda: int("x"), "ValueError: invalid literal for int() with base 10: 'x'"),
        (lambda: {}["x"], "KeyError: 'x'"),
    ],
)
def test_only_what_is_no_mistake_of_the_user_is_named_by_its_class(make, told):
    assert raised(make) == told


def test_an_error_of_our_own_is_the_users_to_mend():
    assert explain(WeightsError("weights=x: no such file")) == "weights=x: no such file"
