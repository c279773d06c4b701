"""Kills during saves, bit rot, and a full disk: the older checkpoint always survives, and someone says so."""

import logging
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from reliability.endless_writer import save_forever

from evax.checkpoints.atomic import CheckpointWriteError
from evax.checkpoints.files import newest_valid, read_checkpoint, step_file, write_checkpoint
from evax.checkpoints.index import Entry, record

SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the checkpoints."""
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm on a file system of its own")
    folder = SHARED_MEMORY / f"evax-{os.getpid()}"
    folder.mkdir()
    yield folder
    assert not list(folder.iterdir()), "a checkpoint was staged on another file system"
    folder.rmdir()


@pytest.mark.parametrize("num_kills", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_a_kill_during_a_save_loses_nothing_that_was_complete(tmp_path: Path, elsewhere: Path, num_kills: int):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reliability.endless_writer"])
    rng = np.random.default_rng(num_kills)
    for _ in range(num_kills):
        done_before = _steps_done(tmp_path)
        writer = context.Process(target=save_forever, args=(tmp_path, elsewhere))
        writer.start()
        _wait_for(lambda before=done_before: _steps_done(tmp_path) > before, seconds=60)
        time.sleep(rng.uniform(0, 0.2))
        writer.kill()  # SIGKILL
        writer.join()
        assert writer.exitcode == -9
        newest = newest_valid(tmp_path)
        state = read_checkpoint(newest)
        assert state["step"] >= _steps_done(tmp_path)
        assert torch.equal(state["weights"], torch.full_like(state["weights"], float(state["step"])))
    assert not (tmp_path / "corrupt").exists()


def _steps_done(folder: Path) -> int:
    return max((int(path.stem) for path in folder.glob("*.done")), default=-1)


def _wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the writer saved nothing"
        time.sleep(0.005)


def flip_a_bit(data: bytearray, rng: np.random.Generator) -> None:
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[rng.integers(len(data)) :]


def punch_a_hole(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data) - 4096))
    data[start : start + 4096] = bytes(4096)


@pytest.mark.parametrize("damage", [flip_a_bit, cut, punch_a_hole])
def test_every_damage_is_found_and_the_older_file_is_used(tmp_path, caplog, damage):
    old, new = (tmp_path / step_file(step) for step in (1, 2))
    for step, path in ((1, old), (2, new)):
        weights = torch.randn(20_000, generator=torch.Generator().manual_seed(step))
        record(tmp_path, Entry(path.name, step, write_checkpoint({"step": step, "weights": weights}, path)))
    intact, written = new.read_bytes(), new.stat().st_mtime_ns
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(intact)
        damage(data, rng)
        new.write_bytes(data)
        os.utime(new, ns=(written, written))  # disks do not touch the time stamp when they forget
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert newest_valid(tmp_path) == old
        assert str(new) in caplog.text
        assert (tmp_path / "corrupt" / new.name).read_bytes() == data


def test_without_an_index_the_crc_finds_every_flip_that_would_change_a_value(tmp_path: Path):
    path = tmp_path / step_file(1)
    weights = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    write_checkpoint({"weights": weights}, path)
    intact = path.read_bytes()
    rng = np.random.default_rng(0)
    num_found = 0
    for _ in range(200):
        data = bytearray(intact)
        flip_a_bit(data, rng)
        path.write_bytes(data)
        newest = newest_valid(tmp_path)
        num_found += newest is None
        assert newest is None or torch.equal(read_checkpoint(newest)["weights"], weights)
    assert num_found >= 190  # the rest hit padding and dates in headers


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mount)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a 24 MB tmpfs needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_leaves_the_old_file_and_is_named(small_disk: Path):
    path = small_disk / "last.ckpt"
    write_checkpoint({"weights": torch.ones(2_500_000)}, path)  # 10 MB
    with pytest.raises(CheckpointWriteError, match=r"last\.ckpt: the disk is full"):
        write_checkpoint({"weights": torch.zeros(4_000_000)}, path)  # 16 MB
    assert torch.equal(read_checkpoint(path)["weights"], torch.ones(2_500_000))
    assert [file.name for file in small_disk.iterdir()] == ["last.ckpt"]
