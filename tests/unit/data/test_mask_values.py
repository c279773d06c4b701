import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from mask_trees import disc
from PIL import Image

from evax.data.film import BadFilmError
from evax.data.mask_values import binary, class_values, percent, solid_values, values_of

NAME = Path("a.png")
SIDE = 96
ONE, OTHER = disc(SIDE, SIDE, left=0.3), disc(SIDE, SIDE, left=0.75)
SQUARE = np.zeros((SIDE, SIDE), np.uint8)
SQUARE[20:70, 31:75] = 1


def jpeg(mask, quality):
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


def smaller(mask, times):
    """A mask that was drawn larger, and made small with soft borders."""
    return np.array(Image.fromarray(np.kron(mask, np.ones((2, 2), np.uint8))).resize((SIDE // times,) * 2, Image.BOX))


def lines(*values):
    """Lines of a pixel's width."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for place, value in enumerate(values, 1):
        mask[5:-5, 9 * place] = value
    return mask


BLURRED = {
    **{f"JPEG of {quality}": jpeg(ONE * 255, quality) for quality in (100, 98, 95, 90, 75, 50)},
    **{f"JPEG of {quality}, straight": jpeg(SQUARE * 255, quality) for quality in (98, 95, 90)},
    **{f"JPEG of {quality} and grey": jpeg(ONE * 100, quality) for quality in (100, 98, 95, 90)},
    **{f"JPEG of {quality} and two labels": jpeg(ONE * 85 + OTHER * 170, quality) for quality in (98, 95, 90)},
    "soft by 2": np.array(Image.fromarray(disc(2 * SIDE, 2 * SIDE, 255)).resize((SIDE, SIDE), Image.BOX)),
    "soft by 3": np.array(Image.fromarray(disc(3 * SIDE, 3 * SIDE, 255)).resize((SIDE, SIDE), Image.BOX)),
    "bilinear": np.array(Image.fromarray(disc(48, 48, 255)).resize((SIDE, SIDE), Image.BILINEAR)),
    "blurred": cv2.GaussianBlur(ONE * 255, (0, 0), 0.5),
    "blurred far": cv2.GaussianBlur(ONE * 255, (0, 0), 2),
    "blurred grey": cv2.GaussianBlur(ONE * 60, (0, 0), 0.5),
}
SOUND = {
    "nothing": ONE * 0,
    "one": ONE,
    "white": ONE * 255,
    "labels": ONE + OTHER * 2,
    "far labels": ONE * 127 + OTHER * 255,
    "labels and what is void": np.where(np.arange(SIDE) < 9, np.uint8(255), ONE + OTHER * 2),
    "labels in order": np.repeat(np.arange(32, dtype=np.uint8), 3)[:, None].repeat(SIDE, 1),
    "thin labels": lines(1, 2, 3, 4, 5),
    "thin greys": lines(50, 100, 150, 200, 250),
    "thin greys over one": np.maximum(lines(50, 100, 150, 200, 250), ONE * 20),
    "a small label beside a large one": ONE * 51 + lines(0, 0, 0, 0, 0, 0, 52),
    "thin labels beside and over large ones": np.maximum(ONE * 2, lines(1, 3, 1, 3, 4)),
    "a small label within a large one": np.where(lines(0, 0, 0, 0, 3) > 0, np.uint8(1), ONE * 2),
    "a small label beside another": ONE * 2 + lines(0, 0, 0, 0, 0, 0, 0, 1),
    "neighbours": ONE * 100 + OTHER * 101,
}  # fmt: skip


@pytest.mark.parametrize("way", BLURRED)
def test_soft_borders_and_jpeg_are_refused_with_their_fix(way):
    with pytest.raises(BadFilmError) as caught:
        class_values(BLURRED[way], NAME)
    assert caught.value.reason == "bad_mask"
    assert caught.value.detail.startswith("a.png has ")
    assert "JPEG" in caught.value.detail
    assert "save the mask as PNG from its original, or threshold it" in caught.value.detail


@pytest.mark.parametrize("way", SOUND)
def test_classes_are_not_taken_for_a_border(way):
    assert class_values(SOUND[way], NAME) == set(np.unique(SOUND[way]).tolist())


def test_the_share_of_the_border_is_said():
    with pytest.raises(BadFilmError, match=r"has 1, 254 on 0\.3 % of its pixels, along edges only"):
        class_values(jpeg(ONE * 255, 100), NAME)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 2), (0, 1, 2), (0, 100, 255)])
def test_one_thing_is_1_wherever_a_mask_shows_it(values):
    mask = np.array([values], np.uint8)
    assert binary(mask, NAME).tolist() == [[0, *(int(value != 100) for value in values[1:])]]


@pytest.mark.parametrize("way", [name for name in BLURRED if "two labels" not in name and "50" not in name])
def test_one_thing_is_found_behind_soft_borders_and_jpeg(way):
    shape = SQUARE if "straight" in way else ONE
    if way.startswith(("soft", "bilinear")):
        shape = disc(SIDE, SIDE)
    differs = binary(BLURRED[way], NAME) != shape
    is_edge = cv2.dilate(shape, np.ones((5, 5))) != cv2.erode(shape, np.ones((5, 5)))
    assert not (differs & ~is_edge).any()
    if not way.startswith(("soft", "bilinear", "blurred far")):
        assert not differs.any()


@pytest.mark.parametrize(
    "mask",
    [
        ONE * 100 + OTHER * 255,
        ONE * 40 + OTHER * 80,
        np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).astype(np.uint8) * ONE,  # an image cut out
        jpeg(ONE * 85 + OTHER * 170, 95),
    ],
)
def test_greys_that_are_more_than_a_border_are_not_one_thing(mask):
    with pytest.raises(
        BadFilmError, match=r"has values between 0 and \d+ on \d+\.\d % of its pixels.*save it with one"
    ):
        binary(mask, NAME)


def test_shares_have_as_many_decimals_as_they_need():
    assert [percent(share) for share in (1.0, 0.26, 0.0429, 0.001, 0.0004, 0.00001, 0.000001)] == [
        *("100.0 %", "26.0 %", "4.3 %", "0.1 %", "0.04 %", "0.001 %", "under 0.001 %")
    ]
    assert values_of(ONE + OTHER) == {0, 1}


def resized(mask, side, way=cv2.INTER_LINEAR):
    """A mask at another size, by OpenCV."""
    return cv2.resize(mask, (side, side), interpolation=way)


LARGE = disc(256, 256)
BLURRED_LABELS = {
    "smaller": (resized(LARGE * 2, 100), "1"),
    "larger": (resized(ONE * 2, 150), "1"),
    "of three": (resized(LARGE * 3, 100), "1, 2"),
    "of ten": (resized(LARGE * 10, 100, cv2.INTER_AREA), "1, 2, 3, 4, 5, 6"),
    "of two that do not touch": (resized(disc(256, 256, left=0.25) + disc(256, 256, 3, left=0.75), 100), "2"),
    "by Pillow": (np.array(Image.fromarray(LARGE * 2).resize((100, 100), Image.BILINEAR)), "1"),
}


@pytest.mark.parametrize("way", BLURRED_LABELS)
def test_the_outline_of_a_label_is_not_another_label(way):
    mask, said = BLURRED_LABELS[way]
    with pytest.raises(BadFilmError, match=rf"a.png has {said}[, ].*, along edges only.*only by nearest neighbour"):
        class_values(mask, NAME)
    assert class_values(mask, NAME, known=frozenset(range(10))) == values_of(mask)  # as other masks show them


def test_solid_values_fill_a_square():
    assert solid_values(np.maximum(ONE * 2, lines(1, 0, 1))) == {0, 2}
    assert class_values(resized(LARGE * 2, 100, cv2.INTER_NEAREST), NAME) == {0, 2}
