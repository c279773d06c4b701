import numpy as np
import pytest

from evax.masking import BlockwiseMasking, UniformMasking


@pytest.mark.parametrize(
    ("ratio", "grid", "hidden"),
    [(0.3, (14, 14), 59), (0.4, (16, 16), 102), (0.5, (3, 5), 8), (0.0, (4, 4), 0)],
)
def test_hides_exactly_the_rounded_share(ratio, grid, hidden):
    is_masked = UniformMasking(ratio)(np.random.default_rng(0), grid)
    assert is_masked.dtype == bool
    assert is_masked.shape == (grid[0] * grid[1],)
    assert is_masked.sum() == hidden


def test_every_cell_is_hidden_equally_often():
    rng = np.random.default_rng(0)
    frequency = np.mean([UniformMasking(0.3)(rng, (4, 5)) for _ in range(4000)], axis=0)
    np.testing.assert_allclose(frequency, 0.3, atol=0.03)  # 4 standard errors


@pytest.mark.parametrize("strategy", [UniformMasking, BlockwiseMasking])
@pytest.mark.parametrize("ratio", [-0.1, 1.0, 30.0, float("nan")])
def test_a_ratio_outside_the_unit_interval_names_the_key(strategy, ratio):
    with pytest.raises(ValueError, match=r"^masking\.ratio is [^\n]*\[0, 1\)$"):
        strategy(ratio)


@pytest.mark.parametrize("strategy", [UniformMasking, BlockwiseMasking])
def test_the_mask_is_a_function_of_the_generator(strategy):
    first, again, other = (strategy()(np.random.default_rng(seed), (14, 14)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
