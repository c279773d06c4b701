import struct

import numpy as np
import pytest
from cxr14_tree import grey
from deep_files import deep_png, exif_chunk

from evax.data.deep_png import is_deep_png, read_deep_png
from evax.data.film import BadFilmError
from evax.data.reading import read_grey

FILM = grey(0, 80, 100).astype(np.uint16)
OPAQUE, CHANGING = np.full_like(FILM, 65535), np.arange(8000, dtype=np.uint16).reshape(80, 100) * 8
FORMS = {
    "grey": (FILM,),
    "grey and alpha": (FILM, OPAQUE),
    "grey and changing alpha": (FILM, CHANGING),
    "RGB": (FILM,) * 3,
    "RGBA": (FILM,) * 3 + (OPAQUE,),
    "RGBA, clear": (FILM,) * 3 + (OPAQUE * 0,),
}


def shown(path, data):
    path.write_bytes(data)
    return read_grey(path)


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_windowed_by_the_depth_that_holds_it(form, is_interlaced, tmp_path):
    num_colours = 1 if form.startswith("grey") else 3
    for bits in (8, 10, 12, 14, 16):
        channels = np.dstack(FORMS[form])
        channels[..., :num_colours] = np.rint(channels[..., :num_colours] * ((2**bits - 1) / FILM.max()))
        expected = np.rint(channels[..., 0] * (255 / (2**bits - 1)))
        image = shown(tmp_path / "a.png", deep_png(channels, is_interlaced=is_interlaced))
        np.testing.assert_array_equal(image, expected)


def test_colour_becomes_the_luma_of_its_full_depth(tmp_path):
    red, green, blue = (grey(seed, 80, 100).astype(np.uint16) * 16 for seed in range(3))
    expected = (0.299 * red + 0.587 * green + 0.114 * blue) * (255 / 4095)
    image = shown(tmp_path / "a.png", deep_png(np.dstack([red, green, blue])))
    np.testing.assert_allclose(image.astype(int), expected, atol=0.54)  # luma is rounded, too


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("orientation", [0, *range(1, 9), 9])
def test_orientation_turns_it_as_it_turns_eight_bits(channels, orientation, tmp_path):
    deep = np.dstack([FILM * 257] * channels)
    turned = {2: np.fliplr, 3: lambda a: a[::-1, ::-1], 4: np.flipud, 5: np.transpose, 6: lambda a: np.rot90(a, -1)}
    turned |= {7: lambda a: a[::-1, ::-1].T, 8: np.rot90}
    image = shown(tmp_path / "a.png", deep_png(deep, chunks=[exif_chunk(orientation)]))
    np.testing.assert_array_equal(image, turned.get(orientation, np.asarray)(FILM))


@pytest.mark.parametrize("chunk", [(b"gAMA", struct.pack(">I", 100_000)), (b"bKGD", bytes(2)), (b"sBIT", b"\x0c")])
def test_other_chunks_change_nothing(chunk, tmp_path):
    image = shown(tmp_path / "a.png", deep_png((FILM * 257)[..., None], chunks=[chunk]))
    np.testing.assert_array_equal(image, FILM)


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_stored_values_and_alpha_come_back_apart(channels, is_interlaced):
    values = np.random.default_rng(channels).integers(0, 2**16, (9, 13, channels)).astype(np.uint16)
    data = deep_png(values, is_interlaced=is_interlaced)
    assert is_deep_png(data)
    colours, alpha = read_deep_png(data)
    num_colours = 1 if channels < 3 else 3
    np.testing.assert_array_equal(colours, values[..., :num_colours])
    assert (alpha is None) == (channels in (1, 3))
    if alpha is not None:
        np.testing.assert_array_equal(alpha, values[..., -1])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_is_alpha(channels):
    values = np.random.default_rng(channels).integers(0, 2**16, (9, 13, channels)).astype(np.uint16)
    key = struct.pack(f">{channels}H", *values[2, 3].tolist())
    colours, alpha = read_deep_png(deep_png(values, chunks=[(b"tRNS", key)]))
    np.testing.assert_array_equal(colours, values)
    np.testing.assert_array_equal(alpha, np.where((values == values[2, 3]).all(-1), 0, 65535))


def test_damage_is_refused(tmp_path):
    data = deep_png(np.dstack([FILM] * 3))
    with pytest.raises(BadFilmError, match="the PNG is damaged"):
        read_deep_png(data[: len(data) // 2])
    for length in (60, len(data) // 2, len(data) - 8):
        with pytest.raises(BadFilmError, match=r"truncated|undecodable"):
            shown(tmp_path / "a.png", data[:length])
