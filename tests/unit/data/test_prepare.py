import csv
import logging
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cxr14_tree import FAULTS, good_tree, grey, plant_faults
from dicom_files import Form, Stored, image, written
from PIL import Image

from evax.data.leakage import LeakageError
from evax.data.manifest import PackError
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source
from evax.data.sources.folder import FolderSource
from evax.data.verification import verify

SLOW = """
import sys, time
from pathlib import Path
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source

class SlowSource(ChestXray14Source):
    def read(self, film):
        time.sleep(0.02)
        return super().read(film)

prepare(SlowSource(Path(sys.argv[1])), Path(sys.argv[2]), size=32, workers=0, shard_size=4)
"""


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _quarantine(folder: Path) -> list[dict[str, str]]:
    with (folder / "quarantine.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _prepare(tree, folder, **settings):
    return prepare(ChestXray14Source(tree.write()), folder, **{"size": 32, "workers": 0, **settings})


def test_every_fault_is_quarantined_and_nothing_good_is_lost(tmp_path):
    tree = good_tree(tmp_path / "raw")
    plant_faults(tree)
    report = _prepare(tree, tmp_path / "pack", size=80, max_quarantine=1.0)
    found = {item["item"]: item["reason"] for item in _quarantine(tmp_path / "pack")}
    found["00007002_000.png"] = found["00007002_000.png"].replace("undecodable", "truncated")
    assert found == FAULTS
    assert (report.films, report.quarantined, report.items) == (14, 10, 24)
    pack = Pack(tmp_path / "pack")
    sixteen, rgba = (list(pack.image_ids).index(f"000070{number}_000.png") for number in (10, 11))
    np.testing.assert_array_equal(pack.image(sixteen), grey(10))
    np.testing.assert_array_equal(pack.image(rgba), grey(11))


def _without_image(path):
    film = image(Stored(np.zeros((8, 8), int), 8, allocated=8), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    path.write_bytes(written(film, Form()))


@pytest.mark.parametrize("has_table", [False, True])
def test_files_without_an_image_are_listed_and_do_not_count(has_table, tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    for number in range(3):
        Image.fromarray(grey(number)).save(root / f"{number}.png")
    for name in ("DICOMDIR", "SR0001", "report.dcm"):
        _without_image(root / name)
    (root / "films.csv").write_text("image\n0.png\n1.png\n2.png\n")
    source = FolderSource(root, table="films.csv" if has_table else None)
    report = prepare(source, tmp_path / "pack", size=32, workers=0)
    assert (report.usable, report.films, report.items, report.quarantined, report.no_images) == (True, 3, 3, 0, 3)
    assert str(report).endswith("0 of 3 items quarantined; 3 more without an image (no_image)")
    listed = _quarantine(tmp_path / "pack")
    assert {item["item"] for item in listed} == {"DICOMDIR", "SR0001", "report.dcm"}
    assert {(item["reason"], item["detail"]) for item in listed} == {
        ("no_image", "a DICOM file without an image (Basic Text SR)")
    }
    assert (len(Pack(tmp_path / "pack")), verify(tmp_path / "pack")[1]) == (3, [])
    (root / "1.png").write_bytes(b"")
    again = prepare(source, tmp_path / "pack", size=32, workers=0)
    assert (again.usable, again.quarantined, again.items, again.no_images) == (False, 1, 3, 3)


def test_above_the_limit_the_pack_is_refused_until_the_limit_is_raised(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    plant_faults(tree)
    report = _prepare(tree, folder)
    assert not report.usable
    assert "max_quarantine=0.01" in str(report)
    with pytest.raises(PackError, match=r"10 of 24 items.*raise max_quarantine.*prepare.py data=cxr14"):
        Pack(folder)
    raised = _prepare(tree, folder, max_quarantine=0.5)
    assert (raised.usable, raised.decoded) == (True, 0)
    assert len(Pack(folder)) == 14


def test_a_repaired_file_is_read_and_only_its_shard(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    path = tree.root / "images/00001002_001.png"
    good = path.read_bytes()
    path.write_bytes(good[:1000])
    assert not _prepare(tree, folder, shard_size=4).usable
    path.write_bytes(good)
    report = _prepare(tree, folder, shard_size=4)
    assert (report.usable, report.films, report.decoded) == (True, 12, 4)


def test_counts_of_the_manifest(tmp_path):
    _prepare(good_tree(tmp_path / "raw"), tmp_path / "pack")
    counts = Pack(tmp_path / "pack").manifest.counts
    assert (counts["films"], counts["patients"], counts["duplicates"]) == (12, 6, 0)
    assert counts["splits"]["official"]["test"] == 4
    assert {name: count for name, count in counts["positives"].items() if count} == {"Mass": 6, "Effusion": 6}


def test_worker_count_does_not_change_a_byte(tmp_path):
    tree = good_tree(tmp_path / "raw", patients=9, films=4)
    plant_faults(tree)
    for workers in (0, 1, 2):
        _prepare(tree, tmp_path / f"pack{workers}", workers=workers, shard_size=20)
    assert _content(tmp_path / "pack0") == _content(tmp_path / "pack1") == _content(tmp_path / "pack2")


def test_killed_run_continues_to_the_same_bytes(tmp_path):
    tree, folder = good_tree(tmp_path / "raw", patients=12, films=4), tmp_path / "killed"
    tree.write()
    # -c has no file that the child could re-import; workers=0 needs none
    run = subprocess.Popen([sys.executable, "-c", SLOW, str(tree.root), str(folder)])
    deadline = time.monotonic() + 60
    while not (folder / "rows-00002.json").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(0.05)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    with pytest.raises(PackError, match="is not finished"):
        Pack(folder)
    report = _prepare(tree, folder, shard_size=4)
    assert 0 < report.decoded <= 36
    _prepare(tree, tmp_path / "whole", shard_size=4)
    assert _content(folder) == _content(tmp_path / "whole")


def test_other_settings_start_anew_and_leave_nothing_behind(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    _prepare(tree, folder, shard_size=3)
    (folder / ".pixels-00001.npy.1234.tmp").write_bytes(b"killed here")
    assert _prepare(tree, folder, shard_size=8, size=40).decoded == 12
    _prepare(tree, tmp_path / "new", shard_size=8, size=40)
    assert _content(folder) == _content(tmp_path / "new")


def test_deleting_a_damaged_shard_repairs_the_pack(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    _prepare(tree, folder, shard_size=4)
    before = _content(folder)
    (folder / "pixels-00001.npy").unlink()
    assert _prepare(tree, folder, shard_size=4).decoded == 4
    assert _content(folder) == before
    assert not verify(folder)[1]


def test_crossing_patient_stops_before_anything_is_written(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    tree.add("00001005_009.png", 1005, "train_val")
    tree.save("00001005_009.png", grey(99))
    with pytest.raises(LeakageError, match=r"scheme official puts 1 patient\(s\) into more than one") as caught:
        _prepare(tree, folder)
    assert "1005" not in str(caught.value)
    assert [path.name for path in folder.iterdir()] == ["quarantine.csv"]
    listed = [(item["item"], item["reason"]) for item in _quarantine(folder)]
    assert ("00001005_009.png", "patient_in_two_splits") in listed
    assert len(listed) == 3


def test_film_on_two_lists_stops(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    tree.train_val.append(tree.test[0])
    with pytest.raises(LeakageError, match=r"put 1 film\(s\) into more than one split"):
        _prepare(tree, folder)
    assert _quarantine(folder)[0]["item"] == tree.test[0]


def test_schemes_are_checked_each_for_itself(tmp_path):
    tree = good_tree(tmp_path / "raw")
    (tree.root / "splits").mkdir()
    for split, names in (("train", tree.test), ("val", []), ("test", tree.train_val)):
        (tree.root / f"splits/{split}.txt").write_text("\n".join(names))
    assert _prepare(tree, tmp_path / "pack").usable


def test_equal_pixels_in_two_splits_stop_before_the_pack_is_usable(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    tree.save(tree.test[0], grey(10000))
    with pytest.raises(LeakageError, match=r"puts 1 picture\(s\) into more than one") as caught:
        _prepare(tree, folder)
    assert tree.test[0] not in str(caught.value)
    assert Counter(item["reason"] for item in _quarantine(folder)) == {"picture_in_two_splits": 2}
    with pytest.raises(PackError, match="is not finished"):
        Pack(folder)


def test_equal_pixels_in_one_split_are_listed_and_kept(tmp_path):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    tree.save(tree.test[0], grey(5))
    tree.save(tree.test[1], grey(5))
    report = _prepare(tree, folder)
    assert (report.usable, report.films, report.duplicates) == (True, 12, 1)
    with (folder / "duplicates.csv").open(newline="") as file:
        assert [line["image_id"] for line in csv.DictReader(file)] == tree.test[:2]


def test_nothing_readable_is_an_unusable_pack(tmp_path):
    tree = good_tree(tmp_path / "raw", patients=1)
    for path in (tree.root / "images").iterdir():
        path.write_bytes(b"")
    assert not _prepare(tree, tmp_path / "pack", max_quarantine=1.0).usable


def test_no_name_reaches_log_or_report(tmp_path, caplog, capfd):
    tree = good_tree(tmp_path / "raw")
    plant_faults(tree)
    with caplog.at_level(logging.DEBUG):
        report = _prepare(tree, tmp_path / "pack", workers=1)
    output = f"{caplog.text}{report}{report!r}{''.join(capfd.readouterr())}"
    ids = {name.split("_")[0] for name in (*tree.train_val, *tree.test)}
    assert not [name for name in ids if name in output]


@pytest.mark.parametrize("setting", [{"fit": "squeeze"}, {"size": 0}, {"shard_size": 0}, {"max_quarantine": 2.0}])
def test_bad_settings_are_named(setting, tmp_path):
    # a wrong fit is a TypeError where the annotations are enforced
    with pytest.raises((ValueError, TypeError), match=next(iter(setting))):
        _prepare(good_tree(tmp_path / "raw", patients=1), tmp_path / "pack", **setting)


def test_full_disk_is_foreseen(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="choose another folder or a smaller size"):
        _prepare(good_tree(tmp_path / "raw"), tmp_path / "pack")


@pytest.mark.data
def test_real_sample(shared_data, tmp_path):
    source = ChestXray14Source(shared_data / "nih_cxr14_sample")
    report = prepare(source, tmp_path / "pack", size=64, workers=2)
    pack = Pack(tmp_path / "pack")
    assert (report.films, report.quarantined, len(pack)) == (848, 0, 848)
    assert pack.manifest.counts["splits"]["sample"] == {"test": 214, "train": 521, "val": 113}
    assert sum(len(pack.boxes(row)) for row in range(848)) == 43
    assert 0.4 < pack.mean < 0.6
    assert 0.2 < pack.std < 0.3


def test_old_rows_never_vouch_for_new_pixels(tmp_path, monkeypatch):
    tree, folder = good_tree(tmp_path / "raw"), tmp_path / "pack"
    _prepare(tree, folder, fit="stretch")
    before = _content(folder)
    with monkeypatch.context() as patch:
        patch.setattr("evax.data.shards.asdict", _fail)
        with pytest.raises(OSError, match="killed here"):
            _prepare(tree, folder, fit="pad", size=40)
    assert _prepare(tree, folder, fit="stretch").decoded == 12
    assert _content(folder) == before


def _fail(*_):
    raise OSError("killed here")
