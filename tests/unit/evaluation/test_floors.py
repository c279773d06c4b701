import csv

import cv2
import numpy as np
import pytest

from evax.data.findings import CXR14
from evax.evaluation.auroc import auroc_per_class
from evax.evaluation.floors import border_features, middle_features, pixel_features, view_features
from evax.evaluation.probe import LinearProbe

SCORED = ["Atelectasis", "Effusion", "Infiltration", "Mass", "Pneumonia", "Edema", "Pleural_Thickening"]


def test_pixels_are_block_means_in_unit_range():
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96), dtype=np.uint8)
    expected = images.reshape(2, 24, 4, 24, 4).mean(axis=(2, 4)).reshape(2, 576) / 255
    np.testing.assert_allclose(pixel_features(images), expected, atol=0.51 / 255)


def test_border_and_middle_see_their_part_of_a_film_and_no_other():
    films = np.random.default_rng(0).integers(0, 256, (2, 96, 96), dtype=np.uint8)
    same_border, same_middle = films.copy(), films.copy()
    same_border[:, 12:-12, 12:-12] = 0
    mask = np.ones((96, 96), bool)
    mask[12:-12, 12:-12] = False
    same_middle[:, mask] = 0
    assert border_features(films).shape == (2, 24 * 24 - 18 * 18)
    np.testing.assert_array_equal(border_features(same_border), border_features(films))
    np.testing.assert_array_equal(middle_features(same_middle), middle_features(films))
    assert not middle_features(same_border).any()
    assert not border_features(same_middle).any()


def test_views_are_one_hot_and_unknown_ones_zero():
    np.testing.assert_array_equal(view_features(["PA", "AP", "LL"]), [[0, 1], [1, 0], [0, 0]])


@pytest.fixture(scope="module")
def sample(shared_data):
    """Features and targets of the sample's train and test films."""
    root = shared_data / "nih_cxr14_sample"
    with (root / "Data_Entry_2017_v2020.csv").open() as stream:
        views = {row["Image Index"]: row["View Position"] for row in csv.DictReader(stream)}
    splits = {}
    for split in ("train", "test"):
        rows = [line.split() for line in (root / "splits" / f"{split}.txt").read_text().splitlines()]
        images = np.stack([cv2.imread(str(root / "images" / row[0]), cv2.IMREAD_GRAYSCALE) for row in rows])
        features = {"pixels": pixel_features(images), "view": view_features([views[row[0]] for row in rows])}
        splits[split] = features, np.array([row[1:] for row in rows], dtype=np.int8)
    return splits


@pytest.mark.data
@pytest.mark.parametrize(("floor", "published"), [("pixels", 0.729), ("view", 0.605)])
def test_floor_is_the_published_one(sample, floor, published):
    (train, train_targets), (test, test_targets) = sample["train"], sample["test"]
    scores = LinearProbe(1e-3).fit(train[floor], train_targets).scores(test[floor])
    columns = [CXR14.index(finding) for finding in SCORED]
    assert auroc_per_class(scores, test_targets)[columns].mean() == pytest.approx(published, abs=5e-4)
