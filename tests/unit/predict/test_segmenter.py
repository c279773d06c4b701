"""Films in use become masks of their own size, whatever their shape; a folder of them becomes masks and areas."""

import csv
import logging

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import evax
from evax.checkpoints import WeightsError
from evax.data.film_view import Extent, FilmView
from evax.data.pack import Pack
from evax.predict.__main__ import main
from evax.predict.mask_folder import place_of
from evax.predict.segmenter import on_the_film
from evax.runs.weights import export_file


def predict(*words):
    """The exit code of the command."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return end.code
    return 0


def test_logits_of_a_stretched_film_are_resized_as_for_scores():
    logits = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    found, is_seen = on_the_film(logits, Extent(0, 0, 30, 20), (20, 30))
    expected = F.interpolate(logits[None], (20, 30), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found, expected)
    assert is_seen.all()


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(60, 100), (100, 60)])
def test_a_spot_stays_where_it_is_on_the_film(fit, shape):
    """A network that answers with what it sees gives the film back, where it sees it."""
    view = FilmView(64, frame=96, fit=fit)
    film = np.zeros(shape, np.uint8)
    film[28:40, 24:36] = 255
    logits = torch.from_numpy(view(film))[None].float() - 127
    found, is_seen = on_the_film(logits, view.extent(*shape), shape)
    assert ((found[0].numpy() > 0) != (film > 127)).mean() < 0.01
    assert is_seen.mean() == pytest.approx(0.6 if fit == "crop" else 1.0)


def test_a_folder_becomes_masks_areas_and_refusals(segmented_run, pack_folder, tmp_path):
    images, output = tmp_path / "images", tmp_path / "out"
    (images / "deep").mkdir(parents=True)
    film = Pack(pack_folder).image(0)
    cv2.imwrite(str(images / "one.png"), film)
    cv2.imwrite(str(images / "deep" / "two.jpg"), cv2.resize(film, (100, 80)))
    (images / "broken.png").write_bytes(b"no film")
    assert predict(f"weights={segmented_run}", f"images={images}", f"output={output}", "batch_size=1", "workers=0") == 0
    masks = {path.relative_to(output / "masks").as_posix() for path in (output / "masks").rglob("*.png")}
    assert masks == {"one.png", "deep/two.jpg.png"}
    with (output / "areas.csv").open(newline="") as file:
        areas = {row["image"]: float(row["lung"]) for row in csv.DictReader(file)}
    one, two = (np.array(Image.open(output / "masks" / name)) for name in ("one.png", "deep/two.jpg.png"))
    assert (one.shape, two.shape) == ((64, 64), (80, 100))
    np.testing.assert_array_equal(one, evax.load_segmenter(segmented_run).segment(film))
    assert areas == pytest.approx({"one.png": (one == 1).mean(), "deep/two.jpg": (two == 1).mean()}, rel=1e-4)
    assert "broken.png,unreadable" in (output / "quarantine.csv").read_text().replace("not_an_image", "unreadable")


def test_an_export_segments_as_its_run_does(segmented_run, pack_folder, tmp_path):
    export_file(segmented_run, tmp_path / "lungs.safetensors", None, None)
    ours, theirs = (evax.load_segmenter(path) for path in (segmented_run, tmp_path / "lungs.safetensors"))
    assert (theirs.classes, theirs.view, theirs.thresholds) == (ours.classes, ours.view, ours.thresholds)
    film = Pack(pack_folder).image(3)
    np.testing.assert_array_equal(ours.segment(film), theirs.segment(film))


@pytest.mark.slow
def test_the_users_threshold_is_taken_and_a_lonely_checkpoint_has_none(segmented_run, pack_folder, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "one.png"), Pack(pack_folder).image(0))
    (tmp_path / "alone").mkdir()
    for name in ("best.ckpt", "config.yaml"):
        (tmp_path / "alone" / name).write_bytes((segmented_run / name).read_bytes())
    words = [f"weights={tmp_path / 'alone'}", f"images={tmp_path / 'images'}", "workers=0"]
    areas = {}
    for threshold in ("", "threshold=0.01", "threshold=0.99"):
        output = tmp_path / f"out{threshold}"
        assert predict(*words, f"output={output}", *([threshold] if threshold else [])) == 0
        areas[threshold] = (np.array(Image.open(output / "masks" / "one.png")) > 0).mean()
    assert areas["threshold=0.01"] > areas["threshold=0.99"]
    assert "no threshold was chosen on validation films; 0.5 is used" in caplog.text
    assert predict(*words, "threshold=1.5") == 2


def test_classifiers_and_segmenters_are_not_taken_for_each_other(segmented_run):
    with pytest.raises(WeightsError, match="was not trained for classification"):
        evax.load_classifier(segmented_run)


def test_masks_never_replace_each_other(tmp_path):
    written = set()
    names = [place_of(tmp_path, name, written).name for name in ("a.dcm", "a.dcm.png", "b.PNG", "b.png")]
    assert names == ["a.dcm.png", "a.dcm.png.png", "b.PNG", "b.png"]
