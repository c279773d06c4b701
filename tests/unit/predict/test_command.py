"""`python -m evax.predict`: a folder of films becomes tables, whatever lies in it."""

import logging
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from predicted import CLASSES, exported, picture, predict, tables

import evax
from evax.data.reading import read_grey
from evax.predict import films
from evax.predict.__main__ import NOTICE


@pytest.fixture
def folder(tmp_path):
    """Three films at any depth, and what else lies in such folders."""
    images = tmp_path / "images"
    (images / "a" / "deep").mkdir(parents=True)
    (images / ".thumbs").mkdir()
    cv2.imwrite(str(images / "one.png"), picture(1))
    cv2.imwrite(str(images / "a" / "two.jpg"), picture(2, (100, 90)))
    cv2.imwrite(str(images / "a" / "deep" / "three.png"), picture(3))
    cv2.imwrite(str(images / ".thumbs" / "one.png"), picture(1))
    (images / "a" / "cut.png").write_bytes((images / "one.png").read_bytes()[:500])
    (images / "notes.txt").write_text("not a film")
    (images / "empty.dcm").touch()
    return images


@pytest.mark.parametrize("is_attentive", [False, True])
def test_every_file_is_in_one_table(is_attentive, folder, tmp_path, caplog):
    weights, output = exported(tmp_path, is_attentive=is_attentive), folder / "results"
    caplog.set_level(logging.INFO)
    for _ in range(2):  # what the first run wrote is no film for the second
        assert predict("--weights", weights, "--images", folder, "--output", output, "--workers", 0) == 0
    probabilities, embeddings, refused = tables(output)
    assert list(probabilities.columns) == ["image", *CLASSES]
    assert list(probabilities["image"]) == ["one.png", "a/two.jpg", "a/deep/three.png"]
    assert list(embeddings["image"]) == list(probabilities["image"])
    assert refused == {"a/cut.png": "truncated", "notes.txt": "not_an_image", "empty.dcm": "not_an_image"}
    assert "3 films read, 3 files refused" in caplog.text
    assert caplog.text.count(NOTICE) == 2  # once a run

    classifier = evax.load_classifier(weights)
    image = classifier.preprocess(read_grey(folder / "a" / "two.jpg"))[None]
    np.testing.assert_allclose(
        probabilities.loc[1, CLASSES].to_numpy(float), classifier.probabilities(image)[0].numpy(), atol=1e-5
    )
    with torch.no_grad():
        features = classifier.backbone.forward_tokens(image).mean(1) if is_attentive else classifier.backbone(image)
    np.testing.assert_allclose(embeddings.loc[1, "embedding"], features[0].numpy(), atol=1e-5)


def test_batches_and_processes_change_nothing(folder, tmp_path):
    weights = exported(tmp_path)
    assert predict(f"weights={weights}", f"images={folder}", f"output={tmp_path / 'a'}", "batch_size=1") == 0
    assert predict(f"weights={weights}", f"images={folder}", f"output={tmp_path / 'b'}", "--workers", 0) == 0
    first, second = tables(tmp_path / "a"), tables(tmp_path / "b")
    np.testing.assert_allclose(first[0][CLASSES], second[0][CLASSES], atol=1e-5)
    assert list(first[0]["image"]) == list(second[0]["image"])
    assert first[2] == second[2]


def test_no_more_than_a_batch_is_held(tmp_path, monkeypatch):
    for seed in range(5):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), picture(seed))
    (tmp_path / "2.5.png").touch()
    taken: list[Path] = []
    monkeypatch.setattr(films, "read_grey", lambda path: taken.append(path) or read_grey(path))
    files = [films.Film(name, "", (), path=path) for name, path in films.list_images(tmp_path).files.items()]
    with films.DecodingPool(films.FilmReader(films.FilmView(32, frame=48)), workers=0) as pool:
        sizes = []
        for batch in films.batches_of(files, pool, 2):
            sizes.append((len(batch.names), len(batch.refusals)))
            assert len(taken) == sum(map(sum, sizes))
        assert sizes == [(2, 0), (2, 1), (1, 0)]
        monkeypatch.setattr(films, "MOST_FILES", 3)
        sizes = [(len(batch.names), len(batch.refusals)) for batch in films.batches_of(files, pool, 9)]
    assert sizes == [(2, 1), (3, 0)]


def test_nothing_that_can_be_read_is_exit_code_1(tmp_path, caplog):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("not a film")
    output = tmp_path / "out"
    words = ["--weights", exported(tmp_path), "--images", tmp_path / "images", "--output", output, "--workers", 0]
    assert predict(*words) == 1
    assert "nothing could be read" in caplog.text
    assert tables(output)[2] == {"notes.txt": "not_an_image"}


def test_a_file_that_is_too_large_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(films, "MAX_BYTES", 100)
    cv2.imwrite(str(tmp_path / "one.png"), picture(1))
    refusal = films.FilmReader(films.FilmView(32)).decode(films.Film("one.png", "", (), path=tmp_path / "one.png"))
    assert refusal.reason == "too_large"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["images=absent", "weights=w.pt"], "--images absent: no such folder or file"),
        (["images=.", "weights=absent.pt"], "weights=absent.pt: no such file or folder"),
        (["images=.", "weights=absent.pt", "batch_size=0"], "--batch-size 0: give a whole number from 1"),
        (["images=."], "--weights"),
    ],
)
def test_mistakes_end_with_status_2_and_one_line(words, said, capsys):
    assert predict(*words) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_help_needs_no_torch():
    code = (
        "import sys, evax.predict.__main__ as command\n"
        "try:\n    command.main(['--help'])\n"
        "except SystemExit:\n    print([name for name in ('torch', 'timm') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "research software" in " ".join(printed.split())
    assert printed.endswith("[]\n")


@pytest.mark.data
def test_a_dicom_film_is_one_of_them(shared_data, tmp_path):
    words = ["--weights", exported(tmp_path), "--images", shared_data / "dicom", "--output", tmp_path / "out"]
    assert predict(*words, "--workers", 0) == 0
    probabilities, _, refused = tables(tmp_path / "out")
    assert not refused
    assert sorted(probabilities["image"]) == ["monochrome1.dcm", "monochrome2.dcm"]
