import numpy as np
import pytest

from evax.masking import BlockwiseMasking, UniformMasking


def draw(masking, grid, count, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([masking(rng, grid) for _ in range(count)])


@pytest.mark.parametrize(
    ("grid", "target", "mean", "exact", "fewest"),
    [((14, 14), 58, 57.4, 0.66, 47), ((14, 14), 59, 58.4, 0.63, 48), ((16, 16), 105, 104.4, 0.64, 94)],
)
def test_counts_without_topup_follow_eva02(grid, target, mean, exact, fewest):
    masking = BlockwiseMasking(target / (grid[0] * grid[1]), topup=False)
    counts = draw(masking, grid, 2000).sum(axis=1)
    assert counts.mean() == pytest.approx(mean, abs=0.15)
    assert (counts == target).mean() == pytest.approx(exact, abs=0.04)
    assert counts.max() == target
    assert counts.min() == pytest.approx(fewest, abs=6)  # a rare event: depends on how many masks are drawn


@pytest.mark.parametrize("grid", [(14, 14), (16, 16), (10, 20), (3, 4), (1, 5)])
@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.3, 0.75, 0.95])
def test_topup_reaches_the_exact_count(grid, ratio):
    counts = draw(BlockwiseMasking(ratio), grid, 20).sum(axis=1)
    assert set(counts) == {round(ratio * grid[0] * grid[1])}


def test_topup_only_adds_cells():
    for seed in range(50):
        short = BlockwiseMasking(topup=False)(np.random.default_rng(seed), (14, 14))
        full = BlockwiseMasking(topup=True)(np.random.default_rng(seed), (14, 14))
        assert not (short & ~full).any()


def test_hidden_cells_cluster():
    def shared_borders(masking):
        maps = draw(masking, (14, 14), 100).reshape(-1, 14, 14)
        return (maps[:, 1:] & maps[:, :-1]).sum() + (maps[:, :, 1:] & maps[:, :, :-1]).sum()

    assert shared_borders(BlockwiseMasking()) > 2 * shared_borders(UniformMasking())


def test_a_block_is_shorter_than_the_grid():
    hidden = draw(BlockwiseMasking(4 / 16, topup=False, min_block=4, aspect=(0.25, 0.25)), (4, 4), 20)
    assert not hidden.any()  # only 1 × 4 blocks could be drawn, and the grid is 4 wide


def test_rows_come_first():
    masking = BlockwiseMasking(16 / 200, topup=False, min_block=16, aspect=(1.0, 1.0))
    is_masked = draw(masking, (10, 20), 1)[0].reshape(10, 20)
    assert is_masked.any(axis=1).sum() == is_masked.any(axis=0).sum() == 4
    assert is_masked.sum() == 16


def test_aspect_is_height_over_width():
    masking = BlockwiseMasking(16 / 400, topup=False, min_block=16, aspect=(4.0, 4.0))
    is_masked = draw(masking, (20, 20), 1)[0].reshape(20, 20)
    assert (is_masked.any(axis=1).sum(), is_masked.any(axis=0).sum()) == (8, 2)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [({"min_block": 0}, "min_block"), ({"aspect": (2.0, 1.0)}, "aspect"), ({"aspect": (0.0, 1.0)}, "aspect")],
)
def test_impossible_settings_name_the_key(arguments, key):
    with pytest.raises(ValueError, match=rf"^masking\.{key} is [^\n]*$"):
        BlockwiseMasking(**arguments)
