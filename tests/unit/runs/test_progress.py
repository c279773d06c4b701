"""How far a run is, by what lies in its folder; and what is said of one that is not complete."""

import json
import shutil

import pytest
import yaml

from evax.checkpoints.files import step_file, write_checkpoint
from evax.runs.choice import choice_of, notes_on_start
from evax.runs.progress import Progress, notes_on_progress, planned_epochs, progress_of


def checkpoint(step, **beside):
    return {"state_dict": {}, "global_step": step, "steps_per_epoch": 10, "max_epochs": 3} | beside


@pytest.fixture
def run(tmp_path):
    """A run whose best checkpoint is an early one, and whose newest is of its last step."""
    folder = tmp_path / "run"
    write_checkpoint(checkpoint(10), folder / "best.ckpt")
    for step in (20, 30):
        write_checkpoint(checkpoint(step), folder / "checkpoints" / step_file(step))
    write(folder, max_epochs=3)
    return folder


def write(folder, **trainer):
    (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": trainer, "protocol": "clean"}))


def test_a_run_is_as_far_as_its_newest_checkpoint_and_so_is_its_best(run):
    for path in (run, run / "best.ckpt", run / "checkpoints" / "step-000030.ckpt"):
        assert progress_of(path) == Progress(30, 30)
        assert notes_on_progress(path) == []
    (run / "checkpoints" / "step-000030.ckpt").unlink()
    for path in (run, run / "best.ckpt"):
        assert str(progress_of(path)) == "step 20 of 30"
        assert notes_on_progress(path) == ["incomplete training: step 20 of 30"]
        assert choice_of(path).notes == ["incomplete training: step 20 of 30"]


def test_another_checkpoint_of_a_complete_run_is_as_far_as_its_own_step(run):
    early = run / "checkpoints" / "step-000020.ckpt"
    copy = shutil.copy(early, run / "mine.ckpt")
    for path in (early, copy):
        assert notes_on_progress(path) == ["incomplete training: step 20 of 30"]
        assert choice_of(path).notes == ["incomplete training: step 20 of 30"]
    told = ["began from step-000020.ckpt: incomplete training: step 20 of 30"]
    assert notes_on_start({"weights": str(early)}) == told


def test_more_epochs_make_a_complete_run_incomplete(run):
    write(run, max_epochs=5)
    assert progress_of(run) == Progress(30, 50)
    assert progress_of(run / "checkpoints" / "step-000020.ckpt") == Progress(20, 50)


def test_fewer_epochs_in_the_configuration_make_no_run_complete(run):
    write(run, max_epochs=2)
    (run / "checkpoints" / "step-000030.ckpt").write_bytes(b"PK")  # damaged: the one before it tells
    for path in (run, run / "checkpoints" / "step-000020.ckpt"):
        assert progress_of(path).total == 30
    assert planned_epochs(run) == 3
    shutil.rmtree(run / "checkpoints")
    assert progress_of(run) == Progress(10, 30)
    assert planned_epochs(run) == 0


def test_the_newest_checkpoint_tells_what_was_planned_not_the_best(run):
    for step in (40, 20, 30):
        write_checkpoint(checkpoint(step, max_epochs=4), run / "checkpoints" / step_file(step))
    assert planned_epochs(run) == 4
    assert progress_of(run) == Progress(40, 40)


@pytest.mark.parametrize(("last", "found"), [(30, Progress(30, 30)), (17, Progress(17, 30)), (None, Progress(10, 30))])
def test_where_old_checkpoints_were_removed_the_table_tells(last, found, run):
    shutil.rmtree(run / "checkpoints")
    if last is not None:
        (run / "metrics.csv").write_text(f"step,train/loss\n1,0.5\n{last},0.25\n")
    assert progress_of(run) == found


def test_a_copy_of_a_checkpoint_tells_how_far_it_is_itself(run, tmp_path):
    copy = shutil.copy(run / "best.ckpt", tmp_path / "copy.ckpt")
    told = "incomplete training: step 10 of 30, or an early checkpoint of a complete one"
    assert notes_on_progress(tmp_path / "copy.ckpt") == [told]
    shutil.copy(run / "checkpoints" / "step-000030.ckpt", copy)
    assert notes_on_progress(tmp_path / "copy.ckpt") == []


@pytest.mark.parametrize(("progress", "notes"), [([20, 30], ["incomplete training: step 20 of 30"]), ([30, 30], [])])
def test_an_export_tells_how_far_its_run_was(progress, notes, tmp_path):
    (tmp_path / "out.safetensors").touch()
    (tmp_path / "out.json").write_text(json.dumps({"step": 10, "progress": progress}))
    assert notes_on_progress(tmp_path / "out.safetensors") == notes


def test_what_tells_nothing_is_taken_for_complete(run, tmp_path):
    for name, content in (("older.ckpt", {"state_dict": {}, "global_step": 10}), ("theirs.pth", {"model": {}})):
        write_checkpoint(content, tmp_path / name)
        assert progress_of(tmp_path / name) is None
    (tmp_path / "damaged.ckpt").write_bytes(b"PK")
    (tmp_path / "export.safetensors").touch()
    assert notes_on_progress(tmp_path / "damaged.ckpt") == notes_on_progress(tmp_path / "export.safetensors") == []


def test_what_began_from_an_incomplete_run_says_so(run):
    assert notes_on_start({"weights": str(run)}) == []
    (run / "checkpoints" / "step-000030.ckpt").unlink()
    told = ["began from best.ckpt: incomplete training: step 20 of 30"]
    assert notes_on_start({"weights": str(run)}) == told
