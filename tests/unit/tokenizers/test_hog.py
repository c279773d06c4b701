import math

import numpy as np
import pytest
import torch

from evax.tokenizers import HogTokenizer
from evax.tokenizers.hog import MIN_LENGTH, SLACK, sobel


def films(height=32, width=48, seed=0):
    """Random 8-bit films (integers) and the same as images in [0, 1]."""
    levels = np.random.default_rng(seed).integers(0, 256, (2, height, width))
    images = torch.tensor(levels / 255, dtype=torch.float32)[:, None].repeat(1, 3, 1, 1)
    return levels, images


def slow_patch(levels, top, left, patch=16, cell=8, bins=9):
    """One token by the definition: pixel by pixel, on integers, in double precision."""
    padded = np.pad(levels, 1, mode="reflect")
    token = []
    for cell_top in range(top, top + patch, cell):
        for cell_left in range(left, left + patch, cell):
            histogram = np.zeros(bins)
            for y in range(cell_top, cell_top + cell):
                for x in range(cell_left, cell_left + cell):
                    n = padded[y : y + 3, x : x + 3]
                    gradient_x = n[0, 2] + 2 * n[1, 2] + n[2, 2] - n[0, 0] - 2 * n[1, 0] - n[2, 0]
                    gradient_y = n[2, 0] + 2 * n[2, 1] + n[2, 2] - n[0, 0] - 2 * n[0, 1] - n[0, 2]
                    degrees = math.degrees(math.atan2(gradient_y, gradient_x)) % 180
                    turn = degrees * bins / 180 + SLACK
                    histogram[int(turn) % bins] += math.hypot(gradient_x, gradient_y) / 255
            token.append(histogram / max(np.linalg.norm(histogram), MIN_LENGTH))
    return np.concatenate(token)


def test_equals_a_pixel_by_pixel_histogram():
    levels, images = films()
    tokens = HogTokenizer()(images)
    for index, (row, col) in enumerate(np.ndindex(2, 3)):
        expected = slow_patch(levels[1], 16 * row, 16 * col)
        np.testing.assert_allclose(tokens[1, index], expected, atol=1e-5, err_msg=f"patch {row}, {col}")


@pytest.mark.parametrize(
    ("slope_x", "slope_y", "bin_index"),
    [(1, 0, 0), (-1, 0, 0), (0, 1, 4), (0, -1, 4), (1, 1, 2), (-1, -1, 2), (1, -1, 6), (-1, 1, 6)],
)
def test_a_ramp_votes_for_the_bin_of_its_direction(slope_x, slope_y, bin_index):
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    images = (0.5 + (slope_x * x + slope_y * y) / 200).expand(1, 3, 48, 48)
    middle = HogTokenizer()(images)[0, 4].reshape(4, 9)  # away from the reflected border
    expected = torch.zeros(4, 9)
    expected[:, bin_index] = 1
    torch.testing.assert_close(middle, expected, atol=1e-3, rtol=0)


def test_sobel_gains_eight_per_unit_slope():
    gradient_x, gradient_y = sobel(torch.arange(5.0).expand(1, 1, 5, 5))
    assert gradient_x[0, 0, 2, 2] == 8
    assert gradient_y.abs().max() == 0


def test_brightness_and_contrast_do_not_matter():
    _, images = films()
    torch.testing.assert_close(HogTokenizer()(images / 2 + 0.3), HogTokenizer()(images), atol=1e-4, rtol=0)


def test_a_flat_film_gives_zeros():
    assert HogTokenizer()(torch.full((1, 3, 32, 32), 0.7)).abs().max() == 0


def test_rounding_noise_is_not_a_target():
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 1e-7
    assert HogTokenizer()(0.7 + noise).abs().max() < 0.05


def test_a_single_grey_level_counts_in_full():
    images = torch.zeros(1, 3, 16, 16)
    images[:, :, 8, 8] = 1 / 255
    torch.testing.assert_close(HogTokenizer()(images).reshape(4, 9).norm(dim=-1), torch.ones(4))


def test_every_cell_has_length_one():
    tokens = HogTokenizer()(films()[1])
    torch.testing.assert_close(tokens.reshape(2, 6, 4, 9).norm(dim=-1), torch.ones(2, 6, 4))


@pytest.mark.parametrize(("patch_size", "bins", "cell", "dim"), [(16, 9, 8, 36), (8, 6, 8, 6), (16, 4, 4, 64)])
def test_dim_is_the_token_width(patch_size, bins, cell, dim):
    tokenizer = HogTokenizer(patch_size, bins, cell)
    assert tokenizer.dim == dim
    assert tokenizer(films()[1]).shape == (2, 32 * 48 // patch_size**2, dim)


def test_only_the_first_channel_is_read():
    _, images = films()
    changed = images.clone()
    changed[:, 1:] = 0
    torch.testing.assert_close(HogTokenizer()(changed), HogTokenizer()(images), atol=0, rtol=0)


def test_a_cell_that_does_not_divide_the_patch_is_refused():
    with pytest.raises(ValueError, match=r"^tokenizer\.cell is 5, but must divide tokenizer\.patch_size, 16$"):
        HogTokenizer(cell=5)
