import pytest
import torch

from evax.tokenizers import HogTokenizer, PixelTokenizer
from evax.tokenizers.base import grid_rows

weight_free = pytest.mark.parametrize("tokenizer", [HogTokenizer(), PixelTokenizer()])


@weight_free
def test_autocast_does_not_change_the_targets(tokenizer):
    images = torch.rand(1, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = tokenizer(images)
    assert tokens.dtype == torch.float32
    torch.testing.assert_close(tokens, tokenizer(images), atol=0, rtol=0)


@weight_free
def test_low_precision_images_give_float32(tokenizer):
    assert tokenizer(torch.rand(1, 3, 32, 32).bfloat16()).dtype == torch.float32


@weight_free
def test_targets_carry_no_gradient_and_nothing_to_train_or_save(tokenizer):
    assert not tokenizer(torch.rand(1, 3, 32, 32, requires_grad=True)).requires_grad
    assert not list(tokenizer.parameters())
    assert not tokenizer.state_dict()


@weight_free
def test_train_keeps_evaluation_mode(tokenizer):
    assert not tokenizer.train().training


@weight_free
def test_images_that_are_no_whole_patches_name_the_key(tokenizer):
    with pytest.raises(ValueError, match=r"^images of 32 × 40 pixels [^\n]*image_size as a multiple of 16$"):
        tokenizer(torch.rand(1, 3, 32, 40))


def test_grid_rows_reads_row_column_channel():
    maps = torch.arange(2.0 * 4 * 6).reshape(1, 2, 4, 6)
    tile = grid_rows(maps, (2, 3))[0, 4]  # second row, second column
    assert tile.tolist() == maps[0, :, 2:4, 2:4].permute(1, 2, 0).flatten().tolist()
