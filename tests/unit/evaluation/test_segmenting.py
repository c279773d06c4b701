"""Flips and windows give the logits that a whole film gives where they can, and their mean elsewhere."""

import pytest
import torch

from evax.evaluation.segmenting import fit_to, flip_averaged, seen_at, sliding, starts


def brightness(images):
    """A model without memory of place: two channels."""
    return torch.cat([images.float(), -images.float()], 1)


def place(images):
    """A model that sees nothing but where in its input a pixel is."""
    height, width = images.shape[-2:]
    return (torch.arange(height)[:, None] * 10.0 + torch.arange(width)).expand(len(images), 1, -1, -1)


@pytest.fixture
def films():
    return torch.randint(0, 256, (2, 1, 10, 14), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_windows_of_a_model_of_pixels_are_the_whole_film(films):
    torch.testing.assert_close(sliding(brightness, 6, 4)(films), brightness(films))


def test_overlapping_windows_are_averaged(films):
    found = sliding(place, 6, 4)(films)
    total, times = torch.zeros(10, 14), torch.zeros(10, 14)
    for top in (0, 4):
        for left in (0, 4, 8):
            total[top : top + 6, left : left + 6] += place(films[..., :6, :6])[0, 0]
            times[top : top + 6, left : left + 6] += 1
    torch.testing.assert_close(found[1, 0], total / times)


@pytest.mark.parametrize(
    ("length", "window", "stride", "expected"),
    [(10, 10, 5, [0]), (10, 4, 4, [0, 4, 6]), (12, 4, 4, [0, 4, 8]), (11, 4, 1, list(range(8)))],
)
def test_windows_end_with_the_film(length, window, stride, expected):
    assert starts(length, window, stride) == expected


def test_windows_larger_than_films_and_gaps_are_refused(films):
    with pytest.raises(ValueError, match="window=12 is more than the 10 x 14 pixels"):
        sliding(brightness, 12, 4)(films)
    with pytest.raises(ValueError, match="stride=7 must be from 1 to window=6"):
        sliding(brightness, 6, 7)


def test_flips_are_mirrored_back(films):
    torch.testing.assert_close(flip_averaged(brightness)(films), brightness(films))
    found = flip_averaged(place)(films)
    torch.testing.assert_close(found, found.flip(-1))


def test_a_smaller_network_sees_the_film_at_its_size(films):
    sizes = []

    def model(images):
        sizes.append(tuple(images.shape))
        return brightness(images)

    assert seen_at(model, 8)(films).shape == (2, 2, 10, 14)
    assert sizes == [(2, 1, 8, 8)]


def test_logits_grow_without_moving():
    logits = torch.tensor([[[[0.0, 4.0]]]])
    torch.testing.assert_close(fit_to(logits, (1, 4))[0, 0, 0], torch.tensor([0.0, 1.0, 3.0, 4.0]))
