import json
import subprocess
import sys

import pytest
from cxr14_tree import good_tree

from evax.data.__main__ import main
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.verification import verify


@pytest.fixture
def folder(tmp_path):
    source = ChestXray14Source(good_tree(tmp_path / "raw").write())
    prepare(source, tmp_path / "cxr14", size=16, workers=0, shard_size=5)
    return tmp_path / "cxr14"


def edit(folder, **fields):
    """Change fields of the manifest."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_sound_pack(folder):
    assert verify(folder)[1] == []


def test_every_damaged_and_missing_file_is_named_with_the_fix(folder):
    path = folder / "pixels-00001.npy"
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    (folder / "pixels-00002.npy").unlink()
    first, second, fix = verify(folder)[1]
    assert first == "pixels-00001.npy: its sha256 is not the manifest's"
    assert second == "pixels-00002.npy: missing"
    assert fix.endswith("run `python prepare.py data=cxr14` again")


def test_a_table_that_is_none(folder):
    (folder / "index.arrow").write_bytes(b"nothing")
    assert "index.arrow: cannot be read as a table" in verify(folder)[1]


def test_counts_are_made_again(folder):
    counts = json.loads((folder / "manifest.json").read_text())["counts"]
    edit(folder, counts=counts | {"patients": 7, "splits": {"official": {"train": 12}}})
    patients, splits = verify(folder)[1]
    assert patients == "index.arrow: patients: 6 in the table, 7 in the manifest"
    assert splits.endswith("{'official': {'train': 12}} in the manifest")


def test_shards_must_hold_as_many_films_as_the_table(folder):
    shards = json.loads((folder / "manifest.json").read_text())["shards"]
    edit(folder, shards=shards[:2])
    assert verify(folder)[1] == ["index.arrow: films in the shards: 12 in the table, 10 in the manifest"]


def test_an_unusable_pack(folder):
    edit(folder, usable=False, quarantined=3, items=15)
    assert verify(folder)[1] == ["unusable: 3 of 15 items are in quarantine.csv, above max_quarantine=0.01"]


@pytest.mark.parametrize(("damage", "code"), [(None, 0), ("pixels-00000.npy", 1), ("manifest.json", 2)])
def test_exit_codes(damage, code, folder):
    if damage:
        (folder / damage).unlink()
    with pytest.raises(SystemExit) as caught:
        main(["verify", str(folder)])
    assert caught.value.code == code


def test_the_command_needs_no_torch(folder):
    script = "import sys\nfrom evax.data.__main__ import main\ntry: main(['verify', sys.argv[1]])\n"
    script += "finally: print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
    assert "sound, 12 films in 4 files" in run.stderr
