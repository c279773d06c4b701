import cv2
import numpy as np
import pytest

from evax.data.phantom import draw_plan, render
from evax.data.phantom.planted import draw_square, render_planted, square_box, square_mask

SIZE = 96


@pytest.fixture(scope="module")
def plans():
    return [draw_plan(seed=4, index=index) for index in range(200)]


@pytest.fixture(scope="module")
def planted(plans):
    return [plan for plan in plans if draw_square(plan)]


def test_half_of_the_films_have_a_square(plans, planted):
    assert 0.4 < len(planted) / len(plans) < 0.6


def test_a_square_is_in_a_lung_and_at_no_place_of_its_own(planted):
    squares = [draw_square(plan) for plan in planted]
    for plan, square in zip(planted, squares, strict=True):
        contours = [outline.astype(np.float32) for outline in plan.lungs()]
        assert max(cv2.pointPolygonTest(contour, (square.x, square.y), True) for contour in contours) > 0
    assert np.std([square.x for square in squares]) > 0.15


def test_box_and_mask_are_the_same_pixels(planted):
    for plan in planted[:30]:
        mask = square_mask(draw_square(plan), SIZE)
        _, *box = square_box(draw_square(plan), SIZE)
        np.testing.assert_allclose(np.array(cv2.boundingRect(mask)) / SIZE, box)
        assert mask.sum() == round(box[2] * SIZE) ** 2


def test_only_the_square_changes_and_its_mean_does_not(planted):
    for plan in planted[:10]:
        pixels, bare = render_planted(plan, SIZE), render(plan._replace(lesions=()), SIZE).image
        change = pixels.image.astype(int) - bare
        inside = pixels.masks["lesions"] > 0
        assert not change[~inside].any()
        assert abs(change[inside].mean()) < 1.0
        assert 18 < np.abs(change[inside]).mean() < 25


def test_a_film_without_a_square_is_a_film_without_lesions(plans):
    plan = next(plan for plan in plans if draw_square(plan) is None)
    pixels = render_planted(plan, SIZE)
    np.testing.assert_array_equal(pixels.image, render(plan._replace(lesions=()), SIZE).image)
    assert not pixels.masks["lesions"].any()


def test_the_brightest_pixel_does_not_tell(planted):
    peaks = [render_planted(plan, SIZE) for plan in planted]
    assert np.mean([pixels.masks["lesions"].flat[pixels.image.argmax()] for pixels in peaks]) < 0.2
