import io

import numpy as np
import pytest
from deep_files import deep_png, exif_chunk
from mask_trees import disc, png, save_png
from PIL import Image

from evax.data.film import BadFilmError
from evax.data.mask_reading import read_mask, read_painted

SHAPE = disc(40, 40)
ONE, OTHER = disc(40, 40, left=0.3), disc(40, 40, 2, left=0.8)
LABELS = ONE + OTHER
BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (200, 0, 0), (0, 200, 0)
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types


def saved(image, **settings):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **settings)
    return buffer.getvalue()


def pillow(values, **settings):
    return saved(Image.fromarray(values), **settings)


def layers(paint, alpha, dtype=np.uint8):
    """Paint, of all pixels (C,) or of each (H, W, C), with its transparency."""
    paint = np.asarray(paint, dtype)
    return np.dstack([np.broadcast_to(paint, (*alpha.shape, paint.shape[-1])), alpha.astype(dtype)])


def palette(places, *colours, bit_depth=8, alpha=None):
    chunks = [(b"PLTE", bytes(value for colour in colours for value in colour))]
    chunks += [(b"tRNS", bytes(alpha))] if alpha is not None else []
    return png(places[..., None], bit_depth, PALETTE, *chunks)


def on(shape, value):
    return shape.astype(np.uint16) * np.uint16(value)


# Each is a file, and the values that it is to be read as.
RIGHT = {
    "8 bits of 0 and 1": (pillow(SHAPE), SHAPE),
    "8 bits of 0 and 255": (pillow(SHAPE * 255), SHAPE * 255),
    "labels": (pillow(LABELS), LABELS),
    "three equal channels": (pillow(np.dstack([LABELS] * 3)), LABELS),
    "opaque": (pillow(layers(np.dstack([LABELS] * 3), SHAPE * 0 + 255)), LABELS),
    "evenly translucent": (pillow(layers(np.dstack([LABELS] * 3), SHAPE * 0 + 100)), LABELS),
    "1 bit": (png(SHAPE[..., None], 1, GREY), SHAPE * 255),
    "1 bit by Pillow": (saved(Image.fromarray(SHAPE * 255).convert("1")), SHAPE * 255),
    "2 bits": (png(LABELS[..., None], 2, GREY), LABELS * 85),
    "4 bits": (png(LABELS[..., None], 4, GREY), LABELS * 17),
    "16 bits of labels": (pillow(LABELS.astype(np.uint16)), LABELS),
    "16 bits of 0 and 65535": (pillow(on(SHAPE, 65535)), SHAPE * 255),
    "16 bits of widened labels": (pillow(on(LABELS, 257)), LABELS),
    "16 bits of labels in colour": (deep_png(np.dstack([LABELS] * 3)), LABELS),
    "16 bits in colour": (deep_png(on(np.dstack([SHAPE] * 3), 65535)), SHAPE * 255),
    "16 bits in colour, interlaced": (deep_png(np.dstack([LABELS] * 3), is_interlaced=True), LABELS),
    "16 bits, opaque": (deep_png(np.dstack([LABELS, on(SHAPE * 0 + 1, 65535)])), LABELS),
    "16 bits in colour, opaque": (deep_png(np.dstack([*[LABELS] * 3, on(SHAPE * 0 + 1, 65535)])), LABELS),
    "white paint": (pillow(layers(WHITE, SHAPE * 255)), SHAPE * 255),
    "black paint": (pillow(layers(BLACK, SHAPE * 255)), SHAPE * 255),
    "coloured paint": (pillow(layers(RED, SHAPE * 255)), SHAPE * 255),
    "paint of a class": (pillow(layers((2, 2, 2), SHAPE * 255)), SHAPE * 2),
    "grey paint": (pillow(layers([255], SHAPE * 255)), SHAPE * 255),
    "grey black paint": (pillow(layers([0], SHAPE * 255)), SHAPE * 255),
    "white paint of 16 bits": (deep_png(layers([65535] * 3, on(SHAPE, 65535), np.uint16)), SHAPE * 255),
    "black paint of 16 bits": (deep_png(layers([0], on(SHAPE, 65535), np.uint16)), SHAPE * 255),
    "colour of 16 bits": (deep_png(layers([40000, 0, 0], on(SHAPE, 65535), np.uint16)), SHAPE * 255),
    "paint and transparency alike": (pillow(layers(np.dstack([SHAPE * 255] * 3), SHAPE * 255)), SHAPE * 255),
    "labels on a transparent ground": (pillow(layers(np.dstack([LABELS] * 3), (LABELS > 0) * 255)), LABELS),
    "colour on a transparent ground": (pillow(layers(SHAPE[..., None] * np.array(RED), SHAPE * 255)), SHAPE * 255),
    "nothing on a layer": (pillow(layers(WHITE, SHAPE * 0)), SHAPE * 0),
    "black is transparent": (png(SHAPE[..., None] * 255, 8, GREY, (b"tRNS", b"\0\0")), SHAPE * 255),
    "black is transparent in 2 bits": (png(LABELS[..., None], 2, GREY, (b"tRNS", b"\0\0")), LABELS * 85),
    "white is transparent in 2 bits": (png(3 - SHAPE[..., None] * 2, 2, GREY, (b"tRNS", b"\0\3")), SHAPE * 85),
    "black is transparent in colour": (png(np.dstack([LABELS] * 3), 8, RGB, (b"tRNS", bytes(6))), LABELS),
    "black is transparent in 16 bits": (
        deep_png(np.dstack([LABELS] * 3), chunks=[(b"tRNS", bytes(6))]),
        LABELS,
    ),
    "palette of black and white": (palette(SHAPE, BLACK, WHITE), SHAPE * 255),
    "palette of white and black": (palette(1 - SHAPE, WHITE, BLACK), SHAPE * 255),
    "palette of 1 bit": (palette(1 - SHAPE, WHITE, BLACK, bit_depth=1), SHAPE * 255),
    "palette of labels in another order": (palette(2 - LABELS, (2,) * 3, (1,) * 3, (0,) * 3), LABELS),
    "palette of far greys": (palette(LABELS, BLACK, (128,) * 3, WHITE), LABELS * 127 + (LABELS > 0)),
    "palette of colours": (palette(LABELS, BLACK, RED, GREEN, bit_depth=2), LABELS),
    "palette of colours and a class of grey": (palette(LABELS, BLACK, (128,) * 3, GREEN), LABELS),
    "palette of which only greys are used": (palette(OTHER, BLACK, RED, (128,) * 3), OTHER),
    "palette of colours, and an order of its own for greys": (palette(2 - SHAPE * 2, WHITE, RED, BLACK), SHAPE * 255),
    "palette with a transparent ground": (palette(LABELS, WHITE, RED, GREEN, alpha=[0]), LABELS),
    "palette of one paint": (palette(SHAPE, WHITE, WHITE, alpha=[0, 255]), SHAPE * 255),
    "palette whose second is transparent": (palette(1 - SHAPE, RED, RED, alpha=[255, 0]), SHAPE * 255),
}  # fmt: skip

TRANSPARENT = "varies in paint and in transparency, and either may be the shape: save it as grey"
WRONG = {
    "red on black": (pillow((SHAPE[..., None] * np.array(RED)).astype(np.uint8)), "is in colour: save it as grey"),
    "red on black in 16 bits": (deep_png(SHAPE[..., None] * np.array([1, 0, 0])), "is in colour: save it as grey"),
    "palette without black": (palette(LABELS, WHITE, RED, GREEN), "or with a palette in which black is first"),
    "palette with black elsewhere": (palette(1 - SHAPE, RED, BLACK), "or with a palette in which black is first"),
    "palette with black twice": (palette(LABELS, BLACK, BLACK, RED), "or with a palette in which black is first"),
    "white on transparent black, and grey": (pillow(layers(np.dstack([LABELS] * 3) + 1, SHAPE * 255)), TRANSPARENT),
    "two classes, soft": (pillow(layers(np.dstack([LABELS] * 3), LABELS * 100)), TRANSPARENT),
    "white is transparent": (
        png(LABELS[..., None] + 1, 8, GREY, (b"tRNS", b"\0\1")), TRANSPARENT,
    ),
    "never quite transparent": (pillow(layers(WHITE, 100 + SHAPE * 155)), TRANSPARENT),
    "a picture that is transparent": (pillow(layers(np.dstack([LABELS] * 3), LABELS * 0)), "transparent on all pixels"),
    "16 bits beyond": (pillow(on(SHAPE, 300)), "has values up to 300: save it with 8 bits"),
    "shifted by 8 bits": (pillow(on(SHAPE, 65280)), "has values up to 65280: save it with 8 bits"),
    "several frames": (
        saved(Image.fromarray(SHAPE * 255), save_all=True, append_images=[Image.fromarray(LABELS)]),
        "has 2 frames: save the one that is the mask",
    ),
    **{
        f"orientation {turn}": (
            deep_png(LABELS[..., None], chunks=[exif_chunk(turn)]), f"turned by its EXIF orientation ({turn}): save",
        )
        for turn in range(2, 9)
    },
}  # fmt: skip


@pytest.mark.parametrize("way", RIGHT)
def test_one_shape_is_itself_in_whatever_way_it_is_stored(way, tmp_path):
    content, values = RIGHT[way]
    (tmp_path / "a.PNG").write_bytes(content)
    found = read_mask(tmp_path / "a.PNG")
    assert found.dtype == np.uint8
    assert np.array_equal(found, values)


def reason(path):
    with pytest.raises(BadFilmError) as caught:
        read_mask(path)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize("way", WRONG)
def test_what_may_be_two_things_is_refused_with_its_fix(way, tmp_path):
    content, said = WRONG[way]
    (tmp_path / "a.png").write_bytes(content)
    why, detail = reason(tmp_path / "a.png")
    assert (why, detail[:6]) == ("bad_mask", "a.png ")
    assert said in detail
    assert "\n" not in detail


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_an_orientation_that_turns_nothing_is_read(orientation, tmp_path):
    (tmp_path / "a.png").write_bytes(deep_png(LABELS[..., None], chunks=[exif_chunk(orientation)]))
    assert np.array_equal(read_mask(tmp_path / "a.png"), LABELS)


def test_a_soft_layer_is_its_transparency(tmp_path):
    soft = (np.indices((40, 40))[1] * 6).astype(np.uint8)
    for paint in (WHITE, BLACK, [0], (2, 2, 2), RED):
        (tmp_path / "a.png").write_bytes(pillow(layers(paint, soft)))
        assert np.array_equal(read_mask(tmp_path / "a.png"), soft)


def test_values_that_stand_for_colours_tell_them(tmp_path):
    ways = {
        palette(LABELS, BLACK, RED, GREEN): {1: RED, 2: GREEN},
        palette(OTHER, BLACK, RED, GREEN): {2: GREEN},
        pillow(layers(RED, SHAPE * 255)): {255: RED},
        palette(LABELS, BLACK, (1,) * 3, (2,) * 3): {},
        pillow(layers(WHITE, SHAPE * 255)): {},
    }
    for content, colours in ways.items():
        (tmp_path / "a.png").write_bytes(content)
        assert read_painted(tmp_path / "a.png").colours == colours


def test_what_is_no_png_is_named(tmp_path):
    assert reason(tmp_path / "none.png") == ("no_mask", "none.png")
    (tmp_path / "page.png").write_text("<html>")
    assert reason(tmp_path / "page.png") == ("bad_mask", "page.png is no PNG file: save the mask as PNG")
    for name in ("soft.jpg", "by name.png"):
        Image.fromarray(SHAPE * 255).save(tmp_path / name, "JPEG")
        why, detail = reason(tmp_path / name)
        assert why == "bad_mask"
        assert "is a JPEG file, which changes values along edges: save the mask as PNG from its original" in detail
    for form in ("TIFF", "BMP", "GIF", "WEBP"):
        Image.fromarray(SHAPE * 255).save(tmp_path / "a.png", form)
        assert reason(tmp_path / "a.png") == ("bad_mask", f"a.png is a {form} file: save the mask as PNG")
    cut = save_png(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 9, (99, 99)).astype(np.uint8))
    cut.write_bytes(cut.read_bytes()[:1000])
    why, detail = reason(cut)
    assert why == "bad_mask"
    assert detail.startswith("cut.png is damaged (")
    (tmp_path / "a.png").write_bytes(palette(LABELS, BLACK, RED))
    assert reason(tmp_path / "a.png")[0] == "bad_mask"
    with pytest.raises(BadFilmError, match="too_large"):
        read_mask(save_png(tmp_path / "a.png", SHAPE), max_pixels=1000)
