import importlib.util
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from tiny import tiny_data

from evax.data.findings import CXR14
from evax.data.union import UnionPack

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "index.py"
ROWS = 50_000
PER_ROW = 80  # bytes, at most; the names of a film alone take more


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Three packs of 50,000 films in all, and one of as many, that have an index and no content."""
    spec = importlib.util.spec_from_file_location("benchmark_of_the_index", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    folder = tmp_path_factory.mktemp("scale")
    benchmark.write_pack(folder / "whole", "cxr14", ROWS, CXR14)
    for source, (share, findings) in benchmark.PACKS.items():
        benchmark.write_pack(folder / source, source, round(share * ROWS), findings)
    return folder


def bytes_per_row(action):
    """The most that Python, NumPy and Arrow hold during an action, beside mapped files."""
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    result = action()
    peak = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - arrow
    tracemalloc.stop()
    return peak / ROWS, result


def test_opening_a_pack_for_training_makes_no_texts(packs):
    found, data = bytes_per_row(lambda: tiny_data(packs / "whole"))
    assert 0.7 * ROWS < len(data.train_rows) < 0.9 * ROWS
    assert found < PER_ROW


def test_neither_does_a_union(packs):
    sources, tests = ["cxr14", "chexpert", "mimic"], ["cxr14/official/test", "chexpert/clean/test"]
    found, union = bytes_per_row(lambda: UnionPack(packs, sources, tests))
    assert len(union) == ROWS
    assert found < 2 * PER_ROW
