"""A film that is in no pack looks as one of a pack does, and as the published code shows it."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from evax.data.film import Pixels
from evax.data.film_view import FilmView
from evax.data.framing import fit_pixels, frame_film
from evax.data.transforms import middle_of, resize


@pytest.fixture
def film():
    coarse = np.random.default_rng(0).integers(0, 255, (12, 16), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((400, 300), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_with_a_frame_it_takes_the_steps_of_a_pack(film, fit):
    stored = fit_pixels(Pixels(film, {}), frame_film(400, 300, 96, fit)).image
    np.testing.assert_array_equal(FilmView(64, frame=96, fit=fit)(film), resize(stored, 64))
    np.testing.assert_array_equal(FilmView(64, 80, frame=96, fit=fit)(film), middle_of(resize(stored, 80), 64))


@pytest.mark.parametrize("resize_to", [80, None])
def test_without_a_frame_it_takes_those_of_the_published_code(film, resize_to):
    published = v2.Compose([v2.Resize(resize_to or 64, v2.InterpolationMode.BICUBIC), v2.CenterCrop(64)])
    for part in (film, film[:, 50:350], film[:, :293].T, film[:217]):
        np.testing.assert_array_equal(
            FilmView(64, resize_to)(np.ascontiguousarray(part)), np.asarray(published(Image.fromarray(part)))
        )


def test_another_size_shows_the_same_part():
    assert FilmView(224, 256).at(448) == FilmView(448, 512)
    assert FilmView(224).at(112) == FilmView(112)


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (350, 350)])
@pytest.mark.parametrize("resize_to", [None, 72])
@pytest.mark.parametrize(("frame", "fit"), [(None, "stretch"), (96, "stretch"), (96, "pad"), (96, "crop")])
def test_extent_says_where_a_pixel_of_the_square_came_from(shape, resize_to, frame, fit):
    """A film that is a ramp in x or in y tells the place of each pixel by its value."""
    height, width = shape
    view = FilmView(64, resize_to, frame=frame, fit=fit)
    left, top, columns, rows = view.extent(height, width)
    ramp_x, ramp_y = (np.linspace(0, 255, length).astype(np.uint8) for length in (width, height))
    places = (np.arange(64) + 0.5) / 64
    seen_x = view(np.ascontiguousarray(np.broadcast_to(ramp_x, shape)))[32]
    seen_y = view(np.ascontiguousarray(np.broadcast_to(ramp_y[:, None], shape)))[:, 32]
    for seen, start, length, size in ((seen_x, left, columns, width), (seen_y, top, rows, height)):
        place = start + places * length
        is_inside = (place > 8) & (place < size - 8)
        assert is_inside.any()
        np.testing.assert_allclose(seen[is_inside], place[is_inside] / size * 255, atol=3)
