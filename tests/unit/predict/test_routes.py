"""One checkpoint, one score: every way from a run trained in bf16 to probabilities gives what its evaluation gave."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from composing import composed
from covidx_tree import good_covidx4

import evax
from evax.commands.evaluate.any_classifier import score_classifier
from evax.commands.evaluate.any_segmenter import score_masks
from evax.commands.evaluate.best_classifier import best_task
from evax.commands.evaluate.best_segmenter import probabilities
from evax.config import instantiate
from evax.data.prepare import prepare
from evax.data.sources.covidx import CovidX4Source
from evax.evaluation.segmenting import Inference, foreground
from evax.predict.__main__ import main
from evax.predict.segmenter import on_the_film
from evax.runs.subject import read_run


def table_of(folder: Path, split: str = "test") -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions" / f"{split}.parquet").set_index("image_id").sort_index()


def scored(folder: Path, *words: str) -> Path:
    words = (*words, "features=classifier")
    score_classifier(composed(*words, "draws=20", root="evaluate"), folder, words)
    return folder


def predicted(run_dir: Path, pack: evax.Pack, names: list[str], folder: Path, batch_size: int) -> pd.DataFrame:
    """What `python -m evax.predict` writes of stored images, given as PNG."""
    (folder / "images").mkdir(parents=True)
    rows = {str(name): row for row, name in enumerate(pack.image_ids)}
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / "images" / f"{number:03d}.png"), np.array(pack.image(rows[name])))
    words = [f"weights={run_dir}", f"images={folder / 'images'}", f"output={folder / 'out'}"]
    main([*words, f"batch_size={batch_size}", "workers=0"])
    table = pd.read_csv(folder / "out" / "probabilities.csv")
    assert list(table.pop("image")) == [f"{number:03d}.png" for number in range(len(names))]
    return table.set_axis(pd.Index(names, name="image_id"))


def check_routes(run_dir: Path, pack: Path, folder: Path, *data: str) -> pd.DataFrame:
    """The predictions of a run, after they were compared with those of the other routes."""
    own = table_of(run_dir)
    there = scored(folder / "weights", f"weights={run_dir}", *data, f"data.pack={pack}", "batch_size=3")
    scored(folder / "unused", f"run={run_dir}", "batch_size=7")
    again = run_dir / "evaluation" / "classifier"
    routes = [table_of(there), table_of(again), predicted(run_dir, evax.Pack(pack), list(own.index), folder, 5)]
    for route in routes:
        pd.testing.assert_frame_equal(route[own.columns], own, atol=1e-6, rtol=0)
    pd.testing.assert_frame_equal(table_of(again, "val"), table_of(run_dir, "val"), atol=1e-6, rtol=0)
    assert (own.nunique() > 0.9 * len(own)).all()  # ties are what rounded logits gave
    return own


def test_a_folder_of_images_gets_the_probabilities_of_the_evaluation(runs, probe_pack, tmp_path):
    own = table_of(runs("full"))
    found = predicted(runs("full"), evax.Pack(probe_pack), list(own.index), tmp_path, 5)
    pd.testing.assert_frame_equal(found, own, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("full",), ("lora", "callbacks=classification_ema"), ("attentive",)], ids=lambda words: words[-1]
)
def test_a_classifier_gives_one_probability_an_image(words, runs, probe_pack, tmp_path):
    assert read_run(runs(*words)).trainer.precision == "bf16-mixed"
    check_routes(runs(*words), probe_pack, tmp_path)


@pytest.mark.slow
def test_a_cnn_does_too(runs, probe_pack, tmp_path):
    words = ["backbone=timm", "backbone.name=resnet18", "optim.layer_decay=1.0", "data.resize_to=null"]
    check_routes(runs("full", *words), probe_pack, tmp_path)


@pytest.mark.slow
def test_exclusive_classes_do_too(runs, tmp_path):
    pack = tmp_path / "pack"
    prepare(CovidX4Source(good_covidx4(tmp_path / "raw", patients=100).write()), pack, size=64, workers=0)
    words = ["data=covidx4", "data.fit_on=[train]", "model.loss=exclusive", "data.labels.findings=[negative,positive]"]
    own = check_routes(runs("full", *words, f"data.pack={pack}"), pack, tmp_path, "data=covidx4")
    np.testing.assert_allclose(own.to_numpy().sum(axis=1), 1, atol=1e-12)


def test_a_segmenter_gives_one_probability_a_pixel(segmented_run, pack_folder, tmp_path):
    saved = read_run(segmented_run)
    assert saved.trainer.precision == "bf16-mixed"
    data, segmenter = instantiate(saved.data, per_device_batch=3), evax.load_segmenter(segmented_run)
    task, rows = best_task(saved, data, segmented_run), data.rows("test")
    with torch.inference_mode():
        own = dict(probabilities(task.logits, data, rows, Inference()))
        there = dict(probabilities(segmenter.logits, data, rows, Inference()))
        for row, odds in own.items():
            np.testing.assert_allclose(there[row], odds, atol=1e-6, rtol=0)
            image = data.pack.image(row)
            logits = segmenter.logits(torch.from_numpy(segmenter.view(image))[None, None])[0]
            on_image, _ = on_the_film(logits, segmenter.view.extent(*image.shape), image.shape)
            np.testing.assert_allclose(foreground(on_image[None])[0].numpy(), odds, atol=1e-6, rtol=0)
    words = [f"run={segmented_run}", "features=segmenter", "batch_size=4"]
    score_masks(composed(*words, "draws=20", root="evaluate"), tmp_path, words)
    again = segmented_run / "evaluation" / "segmenter" / "predictions" / "masks"
    files = sorted((segmented_run / "predictions" / "masks").glob("*.png"))
    for file in files:
        assert (cv2.imread(str(file), -1) != cv2.imread(str(again / file.name), -1)).mean() < 1e-3
