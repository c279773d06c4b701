"""Where W&B's local files end."""

import struct

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from evax.callbacks.hosted_file import BLOCK, newest_row, records

FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def row(step: int, padding: int = 0) -> bytes:
    record = Record()
    for key, value in {"_step": str(step), "train/loss": "0.5", "note": f'"{"x" * padding}"'}.items():
        item = record.history.item.add()
        item.key, item.value_json = key, value
    return record.SerializeToString()


def log(payloads: list[bytes]) -> bytes:
    """The bytes of a LevelDB log: 32 KiB blocks of parts, each under a header of 7 bytes."""
    content = b":W&B\x00\x00\x00"
    for payload in payloads:
        begun = False
        while True:
            left = BLOCK - len(content) % BLOCK
            if left < 7:
                content += bytes(left)
                left = BLOCK
            part, payload = payload[: left - 7], payload[left - 7 :]
            kind = (LAST if begun else FULL) if not payload else (MIDDLE if begun else FIRST)
            content += struct.pack("<IHB", 0, len(part), kind) + part
            begun = True
            if not payload:
                break
    return content


@pytest.fixture
def written(tmp_path):
    """A function that writes a local file of the run `abc`, and returns its newest row."""

    def write(content: bytes):
        folder = tmp_path / "wandb" / "offline-run-20261122_100000-abc"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run-abc.wandb").write_bytes(content)
        return newest_row(tmp_path, "abc")

    return write


def test_records_are_joined_over_blocks():
    payloads = [row(step, padding) for step, padding in enumerate([10, 40_000, 32_700, 100_000, 5], start=1)]
    assert [record.SerializeToString() for record in records(log(payloads))] == payloads


@pytest.mark.parametrize("paddings", [[5, 5], [40_000, 5], [5, 40_000], [32_600, 5], [5, 90_000]])
def test_the_last_row_is_found_from_the_end(paddings, written):
    found = written(log([row(step, padding) for step, padding in enumerate(paddings, start=7)]))
    assert found.step == 8
    assert found.metrics == {"train/loss", "note"}


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_a_torn_end_is_left_out(cut, written):
    assert written(log([row(1), row(2), row(3)])[:-cut]).step == 2


@pytest.mark.parametrize("content", [b"", b":W&B\x00\x00\x00"])
def test_an_empty_file_has_no_row(content, written):
    assert written(content).step == 0


def test_a_run_without_files_has_no_row(tmp_path):
    assert newest_row(tmp_path, "abc") == (0, frozenset())
