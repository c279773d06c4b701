"""Predictions of a folder lose nothing that is finished, and go on to the very tables of a run that was not ended."""

import csv
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from predicted import exported, picture, predict, tables

from evax.data.film import BadFilmError
from evax.predict import filling, films
from evax.predict.folder import ClassifierPredictor, predict_folder
from evax.predict.journal import FOLDER, RECORDS
from evax.predict.loading import load_classifier
from evax.predict.mask_folder import SegmenterPredictor, segment_folder
from evax.predict.segmenter import FilmSegmenter

COUNT = 11


def made(folder: Path, count: int = COUNT) -> Path:
    """Images, and a file that is none, in two folders."""
    for number in range(count):
        path = folder / f"{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(number))
    (folder / "0" / "00.txt").write_text("no image")
    return folder


@pytest.fixture
def images(tmp_path):
    return made(tmp_path / "images")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def classifier(weights):
    return load_classifier(weights)


@pytest.fixture(scope="module")
def segmenter(classifier):
    """A segmenter without training: its mask is of what is bright."""

    class Bright(FilmSegmenter):
        def logits(self, squares):
            return squares.float() / 64 - 2

    return Bright(classifier.backbone, classifier.head, (), ("bright",), classifier.view)


@pytest.fixture(params=["classifier", "segmenter"])
def run(request, classifier, segmenter):
    """Predicts a folder in this process, two images at a time."""

    def predict_all(images: Path, output: Path):
        if request.param == "classifier":
            return predict_folder(classifier, images, output, batch_size=2)
        return segment_folder(segmenter, images, output, batch_size=2)

    return predict_all


def shown(output: Path) -> dict[str, bytes]:
    """All visible files of an output."""
    paths = (path for path in sorted(output.rglob("*")) if path.is_file() and FOLDER not in path.parts)
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in paths}


def rows(output: Path) -> list[str]:
    """The images that are in the table so far."""
    path = next(path for path in (output / "probabilities.csv", output / "areas.csv") if path.exists())
    with path.open(newline="") as file:
        return [row["image"] for row in csv.DictReader(file)]


class BrokenError(Exception):
    """An error that nobody expects."""


def broken_at(monkeypatch, name: str, error: BaseException, of: type = ClassifierPredictor) -> None:
    """Let the batch of an image break."""
    for kind in (ClassifierPredictor, SegmenterPredictor):
        predict_batch = kind.predict

        def guarded(self, batch, predict_batch=predict_batch):
            if name in batch.names:
                raise error
            return predict_batch(self, batch)

        monkeypatch.setattr(kind, "predict", guarded)


@pytest.mark.parametrize(
    "error", [BrokenError("?"), KeyboardInterrupt(), OSError(28, "No space left on device"), SystemExit(1)]
)
def test_a_fault_at_the_last_image_loses_no_other_and_the_same_command_goes_on(error, run, images, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    whole, output = tmp_path / "whole", tmp_path / "out"
    counts = run(images, whole)
    assert counts == (COUNT, 1)
    with pytest.MonkeyPatch.context() as patch:
        broken_at(patch, "1/09.png", error)
        with pytest.raises(type(error)):
            run(images, output)
    assert rows(output) == rows(whole)[:-1]
    assert f"{COUNT} of {COUNT + 1} files are done and kept; the same command goes on" in caplog.text
    with pytest.MonkeyPatch.context() as patch:
        done = []
        patch.setattr(films, "read_grey", lambda path, read=films.read_grey: done.append(path.name) or read(path))
        assert run(images, output) == counts
    assert done == ["09.png"]
    assert f"{COUNT} of {COUNT + 1} files were done before" in caplog.text
    assert shown(output) == shown(whole)


def test_an_end_after_any_batch_gives_the_same_bytes(run, images, tmp_path):
    run(images, tmp_path / "whole")
    for stop in ("0/00.png", "0/10.png", "1/03.png"):
        output = tmp_path / stop.replace("/", "-")
        with pytest.MonkeyPatch.context() as patch:
            broken_at(patch, stop, BrokenError())
            with pytest.raises(BrokenError):
                run(images, output)
        run(images, output)
        assert shown(output) == shown(tmp_path / "whole")


def test_an_end_while_the_tables_are_finished(run, images, tmp_path, monkeypatch):
    run(images, tmp_path / "whole")
    output = tmp_path / "out"
    for place in ("finish", "settle"):
        owner = filling.Journal if place == "settle" else ClassifierPredictor
        others = [SegmenterPredictor] if place == "finish" else []
        with pytest.MonkeyPatch.context() as patch:
            for each in [owner, *others]:
                patch.setattr(each, place, lambda *_: (_ for _ in ()).throw(BrokenError()))
            with pytest.raises(BrokenError):
                run(images, output)
        assert rows(output) == rows(tmp_path / "whole")
    run(images, output)
    assert shown(output) == shown(tmp_path / "whole")


def test_a_finished_folder_is_not_done_again(run, images, tmp_path, monkeypatch):
    counts = run(images, tmp_path / "out")
    before = shown(tmp_path / "out")
    monkeypatch.setattr(films, "read_grey", None)
    assert run(images, tmp_path / "out") == counts
    assert shown(tmp_path / "out") == before


def test_new_changed_and_removed_images(run, images, tmp_path):
    output = tmp_path / "out"
    run(images, output)
    (images / "0" / "00.png").unlink()
    cv2.imwrite(str(images / "0" / "01 new.png"), picture(99))
    cv2.imwrite(str(images / "0" / "02.png"), picture(98, (90, 90)))
    (images / "0" / "04.png").write_bytes(b"no image any more")
    assert run(images, output) == (COUNT - 1, 2)
    run(images, tmp_path / "whole")
    assert rows(output) == rows(tmp_path / "whole")
    ours, theirs = shown(output), shown(tmp_path / "whole")
    assert set(theirs) <= set(ours) <= {*theirs, "masks/0/00.png"}  # of the image that is gone
    for name in theirs:
        if not name.endswith((".csv", ".parquet")):  # of images whose batches were others
            assert ours[name] == theirs[name]
    for name in ("probabilities.csv", "areas.csv"):
        if (output / name).exists():
            found, expected = (pd.read_csv(each / name).set_index("image") for each in (output, tmp_path / "whole"))
            pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-6)
    if (output / "embeddings.parquet").exists():
        found, expected = (pq.read_table(each / "embeddings.parquet") for each in (output, tmp_path / "whole"))
        assert found["image"] == expected["image"]
        vectors = [np.stack(table["embedding"].to_numpy(zero_copy_only=False)) for table in (found, expected)]
        np.testing.assert_allclose(*vectors, atol=1e-5)


def test_what_is_lost_of_an_output_is_made_again(run, images, tmp_path):
    output = tmp_path / "out"
    run(images, output)
    before = shown(output)
    for name in [*before][:3]:
        (output / name).unlink()
        run(images, output)
        assert shown(output) == before
    for name in before:
        if name.endswith((".csv", ".parquet")):
            (output / name).write_bytes(b"edited")
    run(images, output)
    assert shown(output) == before


def test_a_mended_file_is_tried_again(run, images, tmp_path):
    def unreadable(path, read=films.read_grey):
        if path.name == "03.png":
            raise BadFilmError("unreadable", "Input/output error")
        return read(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(films, "read_grey", unreadable)
        assert run(images, tmp_path / "out") == (COUNT - 1, 2)
    assert run(images, tmp_path / "out") == (COUNT, 1)
    assert len(rows(tmp_path / "out")) == COUNT


@pytest.mark.parametrize("error", [ValueError("odd"), ZeroDivisionError(), MemoryError(), RecursionError()])
def test_an_unexpected_fault_of_a_file_is_its_own(error, run, images, tmp_path, monkeypatch):
    def faulty(path, read=films.read_grey):
        if path.name == "03.png":
            raise error
        return read(path)

    monkeypatch.setattr(films, "read_grey", faulty)
    assert run(images, tmp_path / "out") == (COUNT - 1, 2)
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        refused = {row["image"]: row["detail"] for row in csv.DictReader(file)}
    assert type(error).__name__ in refused["1/03.png"]


NAMES = [
    b"M\xfcller.png",
    b"\xce\xd2.txt",
    b"D\xfc/1.png",
    'a\n"b",\t.png',
    "gr\u00fcn.png",
    "-n.png",
    "\u6211.png",
    "\r.png",
]


def test_names_of_any_kind(run, images, tmp_path):
    for number, name in enumerate(NAMES):
        path = images / (os.fsdecode(name) if isinstance(name, bytes) else name)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(number)).save(path, format="PNG")
    (images / "gone.png").symlink_to("nowhere")
    output = tmp_path / os.fsdecode(b"erg\xfcbnis")
    assert run(images, output) == (COUNT + 5, 1 + 4)
    assert {name for name in NAMES if isinstance(name, str)} <= set(rows(output))
    with (output / "quarantine.csv").open(newline="") as file:
        refused = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    unsafe = dict.fromkeys(("M\\xfcller.png", "\\xce\\xd2.txt", "D\\xfc/1.png"), "unsafe_name")
    assert refused == {"0/00.txt": "not_an_image", "gone.png": "unreadable", **unsafe}
    again = shown(output)
    assert run(images, output) == (COUNT + 5, 1 + 4)
    assert shown(output) == again


def test_masks_never_meet(segmenter, tmp_path):
    """Neither under one name, nor where a folder of others must be, nor under a name that is too long."""
    long = "x" * 251
    names = [
        "a",
        "a.png.png",
        "b.jpg",
        "b.jpg.png",
        "d1/a.png",
        "d2/a.png",
        "a.png/c.png",
        f"{long}.png",
        f"{long}.jpg",
    ]
    for number, name in enumerate(names):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number, (80, 80 + number))).save(path, format="PNG")
    for _ in range(2):
        assert segment_folder(segmenter, tmp_path / "images", tmp_path / "out", batch_size=2) == (len(names) - 1, 1)
    masks = [path for path in (tmp_path / "out" / "masks").rglob("*") if path.is_file()]
    widths = {cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[1] for path in masks}
    assert len(masks) == len(widths) == len(names) - 1
    assert (tmp_path / "out" / "masks" / "a.png" / "c.png").is_file()
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        (refused,) = csv.DictReader(file)
    assert (refused["image"], refused["reason"]) == (f"{long}.jpg", "unsafe_name")


def test_one_image_is_a_folder_of_one(run, images, tmp_path):
    assert run(images / "1" / "03.png", tmp_path / "out") == (1, 0)
    assert rows(tmp_path / "out") == ["03.png"]


def test_the_folder_of_the_images_is_no_output(weights, images, capsys):
    assert predict("--weights", weights, "--images", images, "--output", images) == 2
    assert "that is the folder of the images; give another --output" in capsys.readouterr().err


def test_other_weights_and_options_are_not_mixed(weights, images, tmp_path, capsys):
    words = ("--images", images, "--output", tmp_path / "out", "--workers", 0)
    assert predict("--weights", weights, *words) == 0
    before = shown(tmp_path / "out")
    (tmp_path / "other").mkdir()
    other = exported(tmp_path / "other", is_attentive=True)
    for mixed in (("--weights", other, *words), ("--weights", weights, *words, "--size", 64)):
        assert predict(*mixed) == 2
        assert capsys.readouterr().err.splitlines()[-1].endswith("give another --output, or delete that folder")
    assert shown(tmp_path / "out") == before
    assert predict("--weights", weights, *words, "--batch-size", 3) == 0  # the same but for rounding: nothing to do
    assert shown(tmp_path / "out") == before


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_command_goes_on_to_the_same_bytes(end, weights, tmp_path):
    images = made(tmp_path / "images", 120)
    words = ["--weights", str(weights), "--images", str(images), "--batch-size", "4", "--workers", "1"]
    assert predict(*words, "--output", tmp_path / "whole") == 0
    output = tmp_path / "out"
    command = [sys.executable, "-m", "evax.predict", *words, "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    records = output / FOLDER / RECORDS
    while process.poll() is None and not (records.exists() and records.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    process.send_signal(end)
    _, said = process.communicate()
    done = rows(output)
    assert 0 < len(done) < 120, said
    assert done == rows(tmp_path / "whole")[: len(done)]
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on" in said
        assert "Traceback" not in said
    assert predict(*words, "--output", output) == 0
    assert shown(output) == shown(tmp_path / "whole")
    probabilities, embeddings, refused = tables(output)
    assert len(probabilities) == len(embeddings) == 120
    assert refused == {"0/00.txt": "not_an_image"}
