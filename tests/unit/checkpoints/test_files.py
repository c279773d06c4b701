"""Atomic writing, checked reading, and choosing the newest intact checkpoint."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from evax.checkpoints.atomic import CheckpointWriteError
from evax.checkpoints.files import (
    CheckpointReadError,
    has_room,
    newest_valid,
    prune,
    read_checkpoint,
    step_file,
    write_checkpoint,
)
from evax.checkpoints.index import INDEX_NAME, Entry, read_index, record
from evax.data.atomic import sha256_of


def save(folder: Path, step: int, metric: float | None = None) -> Path:
    path = folder / step_file(step)
    record(folder, Entry(path.name, step, write_checkpoint({"step": step, "w": torch.ones(3)}, path), metric))
    return path


def damage(path: Path) -> None:
    """Zero the middle half and keep the time stamp."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : -len(data) // 4] = bytes(len(data[len(data) // 4 : -len(data) // 4]))
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def make_older_than(path: Path, other: Path) -> None:
    moment = other.stat().st_mtime_ns - 1_000_000_000
    os.utime(path, ns=(moment, moment))


def test_what_was_written_is_read(tmp_path):
    state = {"w": torch.arange(3.0), "step": 7, "names": ["a"], "nested": {"lr": 0.1}}
    digest = write_checkpoint(state, tmp_path / "a.ckpt")
    read = read_checkpoint(tmp_path / "a.ckpt")
    assert torch.equal(read.pop("w"), state.pop("w"))
    assert read == state
    assert digest == sha256_of(tmp_path / "a.ckpt")


def test_leftovers_of_a_killed_writer_are_removed_by_the_next_write(tmp_path):
    (tmp_path / ".step-000001.ckpt.tmp").write_bytes(b"half a file")
    (tmp_path / ".someone-elses.tmp").touch()
    path = save(tmp_path, 2)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, INDEX_NAME, ".someone-elses.tmp"}


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = save(tmp_path, 1)
    old = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint({"step": 2}, path)
    assert path.read_bytes() == old
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_state_that_could_not_be_read_back_is_refused_at_once(tmp_path):
    path = save(tmp_path, 1)
    with pytest.raises(CheckpointWriteError, match=r"step-000001\.ckpt.*pathlib.*plain types"):
        write_checkpoint({"folder": tmp_path}, path)
    assert read_checkpoint(path)["step"] == 1


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointWriteError, match=r"cannot write .*file/a\.ckpt"):
        write_checkpoint({"step": 1}, tmp_path / "file" / "a.ckpt")


def test_reading_names_a_missing_file(tmp_path):
    with pytest.raises(CheckpointReadError, match=r"a\.ckpt: no such file"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_reading_names_a_damaged_file(tmp_path):
    path = save(tmp_path, 1)
    damage(path)
    with pytest.raises(CheckpointReadError, match=r"step-000001\.ckpt: damaged"):
        read_checkpoint(path)


class Payload:
    """Runs a command when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("how", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj))])
def test_code_in_a_checkpoint_is_refused_in_one_line_and_never_runs(tmp_path, how):
    path, marker = tmp_path / "evil.ckpt", tmp_path / "marker"
    how({"state_dict": {"w": torch.ones(1)}, "callbacks": Payload(marker)}, path)
    with pytest.raises(CheckpointReadError, match=r"evil\.ckpt") as refusal:
        read_checkpoint(path)
    assert "\n" not in str(refusal.value)
    assert not marker.exists()


def test_newest_valid_orders_by_step_and_not_by_name(tmp_path):
    for step in (2, 1_000_000, 999_999):
        save(tmp_path, step)
    assert newest_valid(tmp_path) == tmp_path / step_file(1_000_000)


def test_newest_valid_of_nothing(tmp_path):
    assert newest_valid(tmp_path / "absent") is None


def test_all_damaged_is_none_and_all_are_kept_aside(tmp_path):
    paths = [save(tmp_path, step) for step in (1, 2)]
    for path in paths:
        damage(path)
    assert newest_valid(tmp_path) is None
    assert {p.name for p in (tmp_path / "corrupt").iterdir()} == {p.name for p in paths}


def test_a_file_that_the_index_does_not_know_is_judged_by_its_crc(tmp_path):
    save(tmp_path, 1)
    write_checkpoint({"step": 2}, tmp_path / step_file(2))  # killed before the index was written
    assert newest_valid(tmp_path) == tmp_path / step_file(2)


def test_a_file_replaced_after_the_index_is_judged_by_its_crc(tmp_path):
    path = save(tmp_path, 1)
    write_checkpoint({"step": 1, "w": torch.zeros(3)}, path)
    make_older_than(tmp_path / INDEX_NAME, path)
    assert newest_valid(tmp_path) == path


def test_the_entry_of_a_replaced_file_does_not_outlive_the_next_record(tmp_path):
    path = save(tmp_path, 1)
    write_checkpoint({"step": 1, "w": torch.zeros(3)}, path)
    make_older_than(tmp_path / INDEX_NAME, path)
    save(tmp_path, 0)
    assert newest_valid(tmp_path) == path


def test_a_valid_archive_that_is_not_the_recorded_one_is_found_by_its_sha256(tmp_path):
    old, new = save(tmp_path, 1), save(tmp_path, 2)
    times = new.stat()
    write_checkpoint({"step": 2, "w": torch.zeros(3)}, new)
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert newest_valid(tmp_path) == old


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"checkpoints": 3, "sha256": ""}', b'{"checkpoints": [{"a": 1}]}']
)
def test_a_damaged_index_never_prevents_loading(tmp_path, content):
    path = save(tmp_path, 1)
    (tmp_path / INDEX_NAME).write_bytes(content)
    assert newest_valid(tmp_path) == path
    save(tmp_path, 2)
    assert [entry.step for entry in read_index(tmp_path).values()] == [2]


def test_a_flipped_digit_in_the_index_condemns_no_checkpoint(tmp_path):
    path = save(tmp_path, 1)
    index = tmp_path / INDEX_NAME
    digest = read_index(tmp_path)[path.name].sha256
    index.write_text(index.read_text().replace(digest, digest[::-1]))
    assert newest_valid(tmp_path) == path


def test_the_index_holds_step_metric_and_digest(tmp_path):
    path = save(tmp_path, 5, metric=0.75)
    assert read_index(tmp_path) == {path.name: Entry(path.name, 5, sha256_of(path), 0.75)}


def test_prune_keeps_the_highest_steps_and_their_entries(tmp_path):
    for step in range(5):
        save(tmp_path, step)
    prune(tmp_path, keep=3)
    kept = {step_file(step) for step in (2, 3, 4)}
    assert {p.name for p in tmp_path.glob("*.ckpt")} == kept
    assert set(read_index(tmp_path)) == kept


def test_prune_removes_nothing_while_the_newest_is_damaged(tmp_path):
    paths = [save(tmp_path, step) for step in range(4)]
    damage(paths[-1])
    prune(tmp_path, keep=1)
    assert all(path.is_file() for path in paths)


def test_room_counts_the_copies_and_the_one_being_written(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 400})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert has_room(tmp_path / "not" / "yet", 100, copies=3)
    assert not has_room(tmp_path, 101, copies=3)
