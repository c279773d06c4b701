import numpy as np
import pytest
import torch
from explained import classes, images, toy

from evax.explain import METHODS, method_named, pca_colours, pca_maps, to_pixels


def test_a_map_between_zero_and_one_has_the_size_asked_for():
    pixels = to_pixels(torch.rand(3, 4, 6) * 7 - 2, (64, 96))
    assert pixels.shape == (3, 64, 96)
    assert (pixels.amin((1, 2)) == 0).all()
    torch.testing.assert_close(pixels.amax((1, 2)), torch.ones(3))


def test_films_are_scaled_one_by_one():
    maps = torch.rand(2, 4, 4)
    scaled = maps * torch.tensor([1.0, 1000.0])[:, None, None]
    torch.testing.assert_close(to_pixels(maps, 32), to_pixels(scaled, 32))


def test_the_peak_stays_at_its_place():
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 2] = 5
    row, column = divmod(int(to_pixels(maps, 64)[0].argmax()), 64)
    assert (row // 16, column // 16) == (1, 2)


def test_a_map_without_contrast_counts_all_places_alike_or_none():
    maps = torch.tensor([1 / 3, 0, -1.0])[:, None, None].expand(3, 7, 7)  # thirds are rounded by interpolation
    assert to_pixels(maps, 224).unique_consecutive(dim=0)[:, 0, 0].tolist() == [1, 0]
    assert (to_pixels(maps, 224).flatten(1).std(1) == 0).all()


def test_a_class_matters_where_a_method_says_so():
    explainable = toy()
    for method in METHODS.values():
        maps = [method(explainable, images(), classes() + shift) for shift in (0, 1)]
        assert torch.equal(*maps) != method.of_class, method.name


def test_the_random_map_is_the_films_own():
    explainable = toy()
    many = METHODS["random"](explainable, images(3), classes(3))
    assert torch.equal(many[2:], METHODS["random"](explainable, images(3)[2:], classes(3)[2:]))
    assert not torch.equal(many[0], many[1])


def test_the_centre_prior_peaks_in_the_middle():
    bell = METHODS["centre"](toy(), images(size=(48, 80)), classes())[0]
    assert bell.argmax() == 1 * 5 + 2
    torch.testing.assert_close(bell, bell.flip(0, 1))


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="there is no method 'gradcam'; choose grad_cam, "):
        method_named("gradcam")


@pytest.mark.parametrize("name", ["eva_x", "vit_registers", "resnet"])
def test_colours_of_tokens_mean_the_same_in_every_batch(name):
    explainable, films = toy(name), images(4)
    whole = pca_colours(explainable, [films])
    assert whole.shape == (4, *explainable.grid(films), 3)
    parts = pca_colours(explainable, [films[:1], films[1:]])
    assert abs(whole - parts).max() < 1e-3


def test_a_lone_token_has_no_colour():
    assert (pca_maps(np.ones((1, 1, 8)), (1, 1)) == 0).all()
