"""Of the images of a folder, those that are explained, and every other one by its name."""

import logging
import os

import pytest
from omegaconf import OmegaConf
from PIL import Image
from predicted import exported, picture

from evax.commands.explain.films import folder_films
from evax.config import ConfigError
from evax.predict.loading import load_classifier


def asked(images, **changed):
    return OmegaConf.create({"images": str(images), "num_films": None, "findings": None, "batch_size": 4} | changed)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return load_classifier(exported(tmp_path_factory.mktemp("weights")))


@pytest.fixture
def images(tmp_path):
    for number, name in enumerate([b"one.png", b"a/two.PNG", b"f\xfc.png"]):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(number)).save(path)
    (tmp_path / "cut\n.png").write_bytes((tmp_path / "one.png").read_bytes()[:500])
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "._one.png").touch()
    return tmp_path


def test_images_are_known_by_their_paths_and_refusals_name_their_files(images, classifier, caplog):
    caplog.set_level(logging.INFO)
    films = folder_films(asked(images), classifier)
    assert films.names == ["one.png", "a/two.PNG"]
    assert [message for message in caplog.messages if message.startswith("skipped")] == [
        "skipped f\\xfc.png: unsafe_name, the name is not UTF-8: rename it, for example by convmv -t utf8",
        "skipped gone.png: unreadable, the link leads nowhere: mend or delete it",
        next(message for message in caplog.messages if message.startswith("skipped cut\\n.png: truncated")),
    ]
    assert "left out: 1 hidden file or folder" in caplog.messages


def test_one_image_is_a_folder_of_one(images, classifier):
    assert folder_films(asked(images / "a" / "two.PNG"), classifier).names == ["two.PNG"]


def test_no_more_images_are_read_than_asked_for(images, classifier):
    assert folder_films(asked(images, num_films=1), classifier).names == ["one.png"]


def test_what_is_absent_or_no_image_is_said(images, classifier):
    with pytest.raises(ConfigError, match="absent: there is no such folder or file"):
        folder_films(asked(images / "absent"), classifier)
    with pytest.raises(ConfigError, match="nothing could be read as a film"):
        folder_films(asked(images / "cut\n.png"), classifier)
