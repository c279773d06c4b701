"""Which checkpoints a run keeps."""

import json
from pathlib import Path

import pytest
import torch
from tiny import tiny_data, tiny_task, tiny_trainer

from evax.callbacks import AtomicCheckpointIO, Checkpointing
from evax.checkpoints.atomic import CheckpointWriteError
from evax.checkpoints.files import newest_valid, read_checkpoint
from evax.data.atomic import sha256_of
from evax.tasks import MaskedImageModeling


def fit(folder: Path, pack: Path, callback: Checkpointing, epochs: int = 4, **settings) -> MaskedImageModeling:
    """Train on 40 of 44 films a step-and-validate epoch: 5 steps each."""
    task = tiny_task()
    trainer = tiny_trainer(
        folder,
        max_epochs=epochs,
        callbacks=[callback],
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=True,
        **settings,
    )
    trainer.fit(task, tiny_data(pack))
    return task


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.ckpt"))


def test_the_newest_three_stay(pack_folder, tmp_path):
    fit(tmp_path, pack_folder, Checkpointing(monitor="val/cosine"))
    assert names(tmp_path / "checkpoints") == [f"step-{step:06d}.ckpt" for step in (10, 15, 20)]


def test_steps_inside_an_epoch_are_saved(pack_folder, tmp_path):
    fit(tmp_path, pack_folder, Checkpointing(monitor="val/cosine", every_n_steps=2, keep=9), epochs=2)
    steps = [int(name[5:11]) for name in names(tmp_path / "checkpoints")]
    assert steps == [2, 4, 5, 6, 8, 10]


@pytest.mark.parametrize("maximise", [True, False])
def test_best_follows_the_metric(maximise, pack_folder, tmp_path):
    fit(tmp_path, pack_folder, Checkpointing(monitor="val/loss", maximise=maximise), epochs=2)
    step = read_checkpoint(tmp_path / "best.ckpt")["global_step"]
    assert step == (5 if maximise else 10)  # the loss falls
    index = json.loads((tmp_path / "index.json").read_text())["checkpoints"]
    assert index[0]["file"] == "best.ckpt"
    assert index[0]["sha256"] == sha256_of(tmp_path / "best.ckpt")


def test_the_last_epoch_is_validated_wherever_it_falls(pack_folder, tmp_path):
    callback = Checkpointing(monitor="val/loss", maximise=False)
    fit(tmp_path, pack_folder, callback, epochs=3, check_val_every_n_epoch=2)
    assert read_checkpoint(tmp_path / "best.ckpt")["global_step"] == 15  # the loss falls; 10 was validated, too


def test_the_checkpoint_is_the_model(pack_folder, tmp_path):
    task = fit(tmp_path, pack_folder, Checkpointing(monitor="val/cosine"), epochs=1)
    state = read_checkpoint(newest_valid(tmp_path / "checkpoints"))
    for name, value in task.state_dict().items():
        assert torch.equal(state["state_dict"][name], value)
    gate = state["PackDataModule"]["gate"]
    assert gate["passed"] is True


def test_an_unknown_metric_is_named(pack_folder, tmp_path):
    with pytest.raises(ValueError, match=r"monitor=val/auroc was not recorded; choose one of .*val/cosine"):
        fit(tmp_path, pack_folder, Checkpointing(monitor="val/auroc"), epochs=1)


def test_no_room_is_said_before_the_first_step(pack_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("evax.callbacks.checkpointing.has_room", lambda *_: False)
    with pytest.raises(CheckpointWriteError, match=r"no room for 5 checkpoints"):
        fit(tmp_path, pack_folder, Checkpointing(monitor="val/cosine"))


def test_failed_writes_are_tolerated_only_so_often(pack_folder, tmp_path, monkeypatch, caplog):
    def full(*_: object) -> str:
        raise CheckpointWriteError("cannot write x: the disk is full")

    monkeypatch.setattr("evax.callbacks.checkpointing.write_checkpoint", full)
    with pytest.raises(CheckpointWriteError, match="the disk is full"):
        fit(tmp_path, pack_folder, Checkpointing(monitor="val/cosine", max_failures=2))
    assert caplog.text.count("the disk is full") == 3
