import numpy as np
import pytest

from evax.explain.tokens import pca_maps


@pytest.fixture(scope="module")
def tokens():
    """Two films of 4 x 6 tokens whose first component runs along the columns."""
    rng = np.random.default_rng(0)
    column = np.tile(np.arange(6.0), 4)
    tokens = rng.normal(size=(2, 24, 10)) * 0.1
    tokens[:, :, 3] += column
    return tokens


def test_colours_have_the_grid_and_lie_between_zero_and_one(tokens):
    maps = pca_maps(tokens, (4, 6))
    assert maps.shape == (2, 4, 6, 3)
    assert (maps.min(), maps.max()) == (0, 1)


def test_the_first_colour_follows_the_largest_variation(tokens):
    first = pca_maps(tokens, (4, 6))[..., 0]
    assert abs(np.corrcoef(first.ravel(), np.tile(np.arange(6.0), 8))[0, 1]) > 0.98


def test_equal_tokens_have_equal_colours_on_every_film(tokens):
    both = tokens.copy()
    both[1, 5] = both[0, 17]
    maps = pca_maps(both, (4, 6)).reshape(2, 24, 3)
    assert maps[1, 5] == pytest.approx(maps[0, 17])


def test_colours_are_reproducible(tokens):
    assert np.array_equal(pca_maps(tokens, (4, 6)), pca_maps(tokens.copy(), (4, 6)))


def test_a_component_without_variation_is_no_error():
    tokens = np.zeros((1, 9, 5))
    tokens[0, :, 2] = np.arange(9)
    assert np.isfinite(pca_maps(tokens, (3, 3))).all()
