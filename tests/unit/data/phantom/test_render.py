import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evax.data.phantom import FINDINGS, Lesion, draw_plan, render
from evax.data.phantom.render import stamp

SIZE = 128


def bare(index):
    return draw_plan(seed=7, index=index)._replace(lesions=())


def with_lesion(index, finding):
    """The film of `bare(index)` with one lesion of middle size in a lung."""
    plan = bare(index)
    x, y = plan.lungs()[index % 2].mean(axis=0)
    radius, aspect = {"Nodule": (0.027, 1.0), "Atelectasis": (0.1, 0.22)}.get(finding, (0.08, 0.95))
    return plan._replace(lesions=(Lesion(finding, float(x), float(y), radius, aspect, 0.3),))


def test_a_film_is_a_function_of_its_key():
    plan = draw_plan(seed=1, index=5)
    first, second = render(plan, SIZE), render(draw_plan(seed=1, index=5), SIZE)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.masks["lesions"], second.masks["lesions"])


def test_a_film_does_not_depend_on_films_drawn_before():
    expected = render(draw_plan(1, 5, 2), SIZE).image
    render(draw_plan(1, 4, 2), SIZE)
    np.testing.assert_array_equal(render(draw_plan(1, 5, 2), SIZE).image, expected)


@pytest.mark.parametrize("size", [64, 101, 224])
def test_image_and_masks_have_the_size_asked_for(size):
    pixels = render(draw_plan(1, 0), size)
    assert {pixels.image.shape, *(mask.shape for mask in pixels.masks.values())} == {(size, size)}
    assert set(pixels.masks) == {"lungs", "lesions"}


@pytest.mark.parametrize("index", range(6))
def test_air_is_black_lungs_are_dark_and_the_heart_is_bright(index):
    pixels = render(bare(index), SIZE)
    lungs = pixels.image[pixels.masks["lungs"] > 0].mean()
    heart = pixels.image[int(0.6 * SIZE), int(0.5 * SIZE) : int(0.55 * SIZE)].mean()
    air = pixels.image[: SIZE // 32, -SIZE // 16 :].mean()
    assert air < 40 < lungs < heart - 60


@pytest.mark.parametrize("index", range(4))
def test_every_film_says_that_it_is_a_phantom(index):
    text = stamp(SIZE)
    image = render(draw_plan(3, index), SIZE).image
    corner = image[: SIZE // 10, : SIZE // 3]
    letters = text[: SIZE // 10, : SIZE // 3] > 128
    assert letters.sum() > 40
    assert corner[letters].min() > 128
    assert corner[letters].mean() > corner[~letters].mean() + 80


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_lesion_changes_the_film_at_its_place_only(finding):
    normal, ill = render(bare(3), SIZE), render(with_lesion(3, finding), SIZE)
    change = np.abs(ill.image.astype(int) - normal.image)
    near = cv2.dilate(ill.masks["lesions"], np.ones((9, 9), np.uint8)) > 0
    assert change[near].max() > 12
    assert change[~near].max() <= 1


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_lesion_hardly_changes_the_mean_of_the_lungs(finding):
    shifts = []
    for index in range(4):
        normal, ill = render(bare(index), SIZE), render(with_lesion(index, finding), SIZE)
        lungs = normal.masks["lungs"] > 0
        shifts.append(ill.image[lungs].mean() - normal.image[lungs].mean())
    assert abs(np.mean(shifts)) < 4.0


@pytest.mark.slow
def test_logistic_regression_on_small_pixels_stays_near_chance():
    plans = [draw_plan(seed=0, index=index, films_per_patient=2) for index in range(2000)]
    thumbs = np.stack(
        [cv2.resize(render(p, 144).image, (24, 24), interpolation=cv2.INTER_AREA).ravel() for p in plans]
    ).astype(float)
    labels = np.array([p.labels for p in plans])
    scores = []
    for k in range(len(FINDINGS)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=500))
        model.fit(thumbs[:1500], labels[:1500, k])
        scores.append(roc_auc_score(labels[1500:, k], model.decision_function(thumbs[1500:])))
    assert np.mean(scores) <= 0.75
