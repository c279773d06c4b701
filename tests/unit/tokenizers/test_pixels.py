import torch

from evax.tokenizers import PixelTokenizer


def test_patches_have_zero_mean_and_unit_variance():
    tokens = PixelTokenizer()(torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(tokens.mean(dim=-1), torch.zeros(2, 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.var(dim=-1, unbiased=True), torch.ones(2, 6), atol=1e-4, rtol=0)


def test_patches_and_their_pixels_are_in_row_order():
    image = torch.rand(32, 48, generator=torch.Generator().manual_seed(0))
    tokens = PixelTokenizer()(image.expand(1, 3, 32, 48))
    patch = image[16:32, 32:48].flatten()  # second row, third column of 2 × 3
    torch.testing.assert_close(tokens[0, 5], (patch - patch.mean()) / (patch.var() + 1e-6).sqrt())


def test_a_flat_patch_gives_zeros():
    assert PixelTokenizer()(torch.full((1, 3, 16, 16), 0.25)).abs().max() == 0


def test_dim_is_the_token_width():
    tokenizer = PixelTokenizer(patch_size=8)
    assert tokenizer(torch.rand(2, 3, 16, 24)).shape == (2, 6, tokenizer.dim)
