import cv2
import numpy as np
import pytest

from evax.data.film import Box, Pixels
from evax.data.framing import fit_boxes, fit_pixels, frame_film

SHAPES = [(80, 160), (160, 80), (97, 101), (64, 64)]


def _marked(height, width, box):
    """A black film that is white inside a box."""
    image = np.zeros((height, width), np.uint8)
    top, bottom = round(box.y * height), round((box.y + box.height) * height)
    left, right = round(box.x * width), round((box.x + box.width) * width)
    image[top:bottom, left:right] = 255
    return image


def test_stretch_is_bilinear():
    image = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    fitted = fit_pixels(Pixels(image, {}), frame_film(70, 90, 32, "stretch"))
    np.testing.assert_array_equal(fitted.image, cv2.resize(image, (32, 32)))


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_boxes_follow_the_pixels(fit, height, width):
    box = Box("Mass", 0.375, 0.375, 0.25, 0.25)
    frame = frame_film(width, height, 128, fit)
    white = fit_pixels(Pixels(_marked(height, width, box), {}), frame).image > 127
    (fitted,) = fit_boxes([box], frame)
    rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    stated = [fitted.x, fitted.y, fitted.x + fitted.width, fitted.y + fitted.height]
    np.testing.assert_allclose(found, np.array(stated) * 128, atol=2.5)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_masks_keep_their_values(fit):
    mask = np.random.default_rng(1).integers(0, 3, (80, 130), np.uint8) * 100
    fitted = fit_pixels(Pixels(mask, {"lungs": mask}), frame_film(130, 80, 64, fit))
    assert fitted.masks["lungs"].shape == (64, 64)
    assert set(np.unique(fitted.masks["lungs"])) == {0, 100, 200}


def test_pad_keeps_the_aspect():
    image = np.full((80, 160), 200, np.uint8)
    fitted = fit_pixels(Pixels(image, {}), frame_film(160, 80, 64, "pad")).image
    assert (fitted[16:48] == 200).all()
    assert not fitted[:16].any()
    assert not fitted[48:].any()


def test_a_cropped_box_is_dropped():
    frame = frame_film(200, 100, 64, "crop")
    assert fit_boxes([Box("Mass", 0.0, 0.1, 0.2, 0.2)], frame) == ()


def test_a_half_cropped_box_is_cut():
    frame = frame_film(200, 100, 64, "crop")
    (box,) = fit_boxes([Box("Mass", 0.2, 0.1, 0.1, 0.2)], frame)
    assert box.x == 0
    assert box.width == pytest.approx(0.1)
