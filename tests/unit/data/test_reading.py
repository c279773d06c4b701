import io
import time

import numpy as np
import pytest
from cxr14_tree import grey
from deep_files import deep_png
from PIL import Image

from evax.data.film import BadFilmError
from evax.data.reading import read_grey, time_limit

FILM = grey(0, 80, 100)


def _reason(path, **limits):
    with pytest.raises(BadFilmError) as caught:
        read_grey(path, **limits)
    return caught.value.reason


def _png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_png_modes_give_the_same_grey(mode, tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(FILM).convert(mode).save(path)
    np.testing.assert_array_equal(read_grey(path), FILM)


def test_one_bit_film_is_black_and_white(tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(FILM > 100).save(path)
    np.testing.assert_array_equal(read_grey(path), np.where(FILM > 100, 255, 0))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_modes_agree(mode, tmp_path):
    smooth = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (80, 1))
    path = tmp_path / "film.jpg"
    Image.fromarray(smooth).convert("RGB").convert(mode).save(path, quality=95)
    np.testing.assert_allclose(read_grey(path).astype(int), smooth, atol=6)


def test_sixteen_bit_copy_reads_like_the_original(tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(FILM.astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(read_grey(path), FILM)


def test_exif_orientation_is_applied(tmp_path):
    path = tmp_path / "film.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(FILM).save(path, exif=exif)
    assert read_grey(path).shape == (100, 80)


def test_cut_png_is_refused_at_every_length(tmp_path):
    path, data = tmp_path / "film.png", _png(Image.fromarray(FILM))
    for length in (60, len(data) // 2, len(data) - 8):
        path.write_bytes(data[:length])
        assert _reason(path) in ("truncated", "undecodable")


def test_cut_jpeg_is_truncated(tmp_path):
    path = tmp_path / "film.jpg"
    Image.fromarray(FILM).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert _reason(path) == "truncated"


def test_flipped_bit_is_refused(tmp_path):
    path, data = tmp_path / "film.png", bytearray(_png(Image.fromarray(FILM)))
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert _reason(path) in ("truncated", "undecodable")


@pytest.mark.parametrize("content", [b"", b"<html>", b"GIF89a" + bytes(100)])
def test_other_files_are_no_image(content, tmp_path):
    path = tmp_path / "film.png"
    path.write_bytes(content)
    assert _reason(path) == "not_an_image"


def test_missing_file(tmp_path):
    assert _reason(tmp_path / "none.png") == "missing"


@pytest.mark.parametrize(
    ("film", "reason"),
    [
        (grey(1, 63, 80), "too_small"),
        (grey(1, 64, 193), "aspect"),
        (np.full((80, 80), 77, np.uint8), "flat"),
    ],
)
def test_what_cannot_be_a_film(film, reason, tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(film).save(path)
    assert _reason(path) == reason


def test_pixel_limit(tmp_path):
    path = tmp_path / "film.png"
    Image.fromarray(FILM).save(path)
    assert _reason(path, max_pixels=7999) == "too_large"
    assert read_grey(path, max_pixels=8000).shape == (80, 100)


def test_decompression_bomb_is_too_large(tmp_path):
    path = tmp_path / "film.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert _reason(path) == "too_large"


def test_messages_do_not_name_the_file(tmp_path):
    path = tmp_path / "patient-secret.png"
    path.write_bytes(_png(Image.fromarray(FILM))[:60])
    with pytest.raises(BadFilmError) as caught:
        read_grey(path)
    assert "secret" not in str(caught.value)


def test_time_limit_ends_a_slow_film():
    with pytest.raises(BadFilmError, match="too_slow"), time_limit(0.02):
        time.sleep(2)


def test_time_limit_is_lifted():
    with time_limit(0.02):
        pass
    time.sleep(0.04)


PAINTED = {
    "LA": ("LA", 0),
    "white LA": ("LA", 255),
    "RGBA": ("RGBA", 90),
    "16-bit grey": (2, 0),
    "16-bit colours": (4, 40000),
}


@pytest.mark.parametrize("form", PAINTED)
def test_an_image_in_its_transparency_is_told(form, tmp_path):
    kind, paint = PAINTED[form]
    path, film = tmp_path / "film.png", grey(1)
    if isinstance(kind, int):
        alpha = film.astype(np.uint16) * 257
        path.write_bytes(deep_png(np.stack([np.full_like(alpha, paint)] * (kind - 1) + [alpha], axis=-1)))
    else:
        image = Image.fromarray(np.full_like(film, paint)).convert(kind)
        image.putalpha(Image.fromarray(film))
        image.save(path)
    with pytest.raises(BadFilmError, match="the image is in its transparency: flatten it and save it as grey") as told:
        read_grey(path)
    assert told.value.reason == "mode"
    Image.new("RGBA", film.shape, (90, 90, 90, 128)).save(path)
    with pytest.raises(BadFilmError) as flat:
        read_grey(path)
    assert flat.value.reason == "flat"
