import numpy as np
import pytest

from evax.data.run_length import decode_runs, encode_runs


def test_runs_go_down_the_columns_and_are_counted_from_the_last_end():
    mask = decode_runs("1 2 3 1", height=3, width=3)  # pixels 1, 2 and 6 of 9, column by column
    assert mask.tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert mask.dtype == np.uint8


@pytest.mark.parametrize("text", ["-1", " -1"])
def test_no_run_is_an_empty_mask(text):
    assert not decode_runs(text, 4, 5).any()
    assert encode_runs(np.zeros((4, 5), np.uint8)) == "-1"


@pytest.mark.parametrize(
    ("text", "pixels"), [("0 12", 12), ("0 3 0 3", 6), ("11 1", 1), ("5 0 2 1", 1), (" 0 1\t10 1 ", 2)]
)
def test_odd_but_sound_runs(text, pixels):
    assert decode_runs(text, 3, 4).sum() == pixels


@pytest.mark.parametrize("seed", range(40))
def test_what_is_encoded_is_decoded(seed):
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 20, 2)
    mask = (generator.random((height, width)) < generator.random()).astype(np.uint8)
    runs = encode_runs(mask)
    assert np.array_equal(decode_runs(runs, int(height), int(width)), mask)
    flat = mask.ravel(order="F")
    assert runs == "-1" or sum(map(int, runs.split()[1::2])) == flat.sum()


@pytest.mark.parametrize("text", ["", "3", "1 2 3", "1 -2", "a b", "nan", "1.0 2.0", "²3 1"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="not pairs of a gap and a length"):
        decode_runs(text, 3, 3)


@pytest.mark.parametrize("text", ["0 10", "9 1", "8 1 0 1", "0 99999999999999999999"])
def test_runs_over_the_end_are_refused(text):
    with pytest.raises(ValueError, match=r"runs end at pixel \d+ of 9"):
        decode_runs(text, 3, 3)
