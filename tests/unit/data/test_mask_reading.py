import numpy as np
import pytest
from mask_trees import disc, save_png
from PIL import Image

from evax.data.film import BadFilmError
from evax.data.mask_reading import binary, read_mask


def test_values_are_kept_and_bits_are_0_and_1(tmp_path):
    ones, whites = save_png(tmp_path / "1.png", disc()), save_png(tmp_path / "255.png", disc(value=255))
    bits = tmp_path / "bit.png"
    Image.fromarray(disc(value=255)).convert("1").save(bits)
    for path, value in ((ones, 1), (whites, 255), (bits, 1)):
        assert np.array_equal(read_mask(path), disc(value=value))
        assert read_mask(path).dtype == np.uint8


def test_labels_are_kept(tmp_path):
    labels = disc() + disc(value=2, left=0.9)
    assert np.array_equal(read_mask(save_png(tmp_path / "a.png", labels)), labels)
    assert np.array_equal(read_mask(save_png(tmp_path / "b.png", np.dstack([labels] * 3))), labels)
    palette = Image.fromarray(labels, "L").convert("P")
    palette.putdata(labels.ravel().tolist())
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    palette.save(tmp_path / "c.png")
    assert np.array_equal(read_mask(tmp_path / "c.png"), labels)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 2), (0, 1, 2), (0, 100, 255)])
def test_one_thing_is_1_wherever_a_mask_shows_it(values):
    mask = np.array([values], np.uint8)
    assert binary(mask).tolist() == [[0, *(int(value != 100) for value in values[1:])]]


def reason(path):
    with pytest.raises(BadFilmError) as caught:
        read_mask(path)
    return caught.value.reason, caught.value.detail


def test_what_is_no_mask_is_named(tmp_path):
    assert reason(tmp_path / "none.png") == ("no_mask", "none.png")
    (tmp_path / "page.png").write_text("<html>")
    assert reason(tmp_path / "page.png") == ("bad_mask", "page.png is no PNG file")
    Image.fromarray(disc()).save(tmp_path / "soft.jpg")
    assert reason(tmp_path / "soft.jpg")[0] == "bad_mask"
    cut = save_png(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 9, (99, 99)).astype(np.uint8))
    cut.write_bytes(cut.read_bytes()[:1000])
    assert reason(cut)[0] == "bad_mask"
    colour = save_png(tmp_path / "colour.png", np.random.default_rng(0).integers(0, 9, (9, 9, 3)).astype(np.uint8))
    assert reason(colour) == ("bad_mask", "colour.png is in colour: one value a pixel is wanted")
    deep = save_png(tmp_path / "deep.png", disc().astype(np.uint16) * 300)
    assert reason(deep) == ("bad_mask", "deep.png has values beyond 255")
