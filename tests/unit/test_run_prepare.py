import logging

import pytest
from composing import composed

from evax.data.prepare import prepare as make_pack
from evax.data.sources.phantom import PhantomSource
from evax.run_prepare import prepare


@pytest.fixture
def packs(tmp_path):
    """Two packs of 12 phantoms, of which at least one each is in test."""
    for seed, name in enumerate(("one", "two")):
        make_pack(
            PhantomSource(num_films=12, seed=seed, size=64, films_per_patient=1), tmp_path / name, size=64, workers=0
        )
    return tmp_path


def test_data_without_a_source_is_only_counted(packs, caplog):
    before = sorted(packs.rglob("*"))
    words = "data.sources=[one]", "data.test_sets=[one/official/test]", f"paths.packs={packs}"
    with caplog.at_level(logging.INFO):
        prepare(composed("data=merged520k", *words, root="prepare"))
    assert "films for pre-training (one " in caplog.text
    assert "of patients of phantom/official/test; mean 0." in caplog.text
    assert sorted(packs.rglob("*")) == sorted([*before, packs / "near_duplicates.csv"])
    assert "pairs of two patients' films look alike, 0 of them in two splits" in caplog.text
