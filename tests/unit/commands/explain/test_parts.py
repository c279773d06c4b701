"""Checks of maps on a few films of noise."""

import numpy as np
from explained import toy

from evax.commands.explain.films import Case, Films
from evax.commands.explain.parts import faithfulness


def test_intervals_of_insertion_and_deletion_are_drawn_by_the_seed():
    random = np.random.default_rng(0)
    squares = random.integers(0, 256, (4, 64, 64), dtype=np.uint8)
    names = [f"film {number}" for number in range(4)]
    cases = [Case(number, 0, "Mass") for number in range(4)]
    films = Films(squares, names, list(range(4)), np.array(names), cases, {})
    maps, explainable = random.random((4, 4, 4), np.float32), toy()

    def found(seed):
        return faithfulness(explainable, films, cases, maps, batch_size=4, num_draws=20, seed=seed)

    first, again, other = (found(seed) for seed in (0, 0, 1))
    assert first == again
    for name in ("insertion", "deletion"):
        assert first[name]["curve"] == other[name]["curve"]
        assert first[name]["pooled"] != other[name]["pooled"]
