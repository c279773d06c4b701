"""Two segmentations are compared by their tables alone: on the same films, on the same resamples of patients."""

import numpy as np
import pytest

from evax.evaluation.comparison import Table
from evax.evaluation.mask_tables import compare_mask_tables, read_mask_table, write_mask_table
from evax.evaluation.segmentation import FilmCounts, dice, stack
from evax.evaluation.segmentation_card import Segmented

IDS, PATIENTS = np.array(["c", "a", "b", "d"]), np.array(["p", "q", "p", "r"])
CLASSES = ("left", "right")


def written(path, seed, ids=IDS, *, true_pixels=40, pixels=100):
    """A table of random counts of four films, all with as many true pixels of each class."""
    found = np.random.default_rng(seed).binomial((true_pixels, pixels - true_pixels), (0.75, 0.2), (4, 3, 2))
    tp, fp = found[..., 0], found[..., 1]
    counts = np.stack([tp, fp, true_pixels - tp, pixels - true_pixels - fp], axis=-1).astype(np.int64)
    curve = np.zeros((2, 99, 4), np.int64)
    films = stack([FilmCounts(curve, each, np.array([1.5, np.nan])) for each in counts])
    write_mask_table(path, Segmented(ids, PATIENTS, films), np.arange(4), CLASSES)
    return counts[:, 1:]


def test_a_table_reads_as_it_was_written_in_order_of_ids(tmp_path):
    counts = written(tmp_path / "test.parquet", 0)
    ids, patients, found = read_mask_table(tmp_path / "test.parquet", ("right", "left"))
    assert ids.tolist() == ["a", "b", "c", "d"]
    assert patients.tolist() == ["q", "p", "p", "r"]
    np.testing.assert_array_equal(found, counts[[1, 2, 0, 3]][:, ::-1])


def test_difference_is_that_of_pooled_dice_in_the_mean_over_runs(tmp_path):
    counts = [written(tmp_path / f"{seed}.parquet", seed) for seed in range(3)]
    first = Table("ours", (tmp_path / "0.parquet", tmp_path / "1.parquet"))
    found = compare_mask_tables(first, Table("theirs", (tmp_path / "2.parquet",)), CLASSES, num_draws=50)
    pooled = [dice(each.sum(0)) for each in counts]
    expected = (pooled[0] + pooled[1]) / 2 - pooled[2]
    assert [found.difference.per_class[name].value for name in CLASSES] == pytest.approx(expected.tolist())
    assert found.difference.macro.low < found.difference.macro.value < found.difference.macro.high


def test_a_method_does_not_differ_from_itself(tmp_path):
    written(tmp_path / "0.parquet", 0)
    one = Table("one", (tmp_path / "0.parquet",))
    assert compare_mask_tables(one, one, CLASSES, num_draws=20).difference.macro == (0.0, 0.0, 0.0)


def test_other_films_classes_and_protocols_are_refused(tmp_path):
    written(tmp_path / "0.parquet", 0)
    written(tmp_path / "1.parquet", 0, np.array(["c", "a", "b", "x"]))
    one, other = (Table(name, (tmp_path / f"{name}.parquet",)) for name in "01")
    with pytest.raises(ValueError, match="scored other films"):
        compare_mask_tables(one, other, CLASSES)
    with pytest.raises(ValueError, match="has no class heart"):
        compare_mask_tables(one, one, ("heart",))
    official = Table("0", one.paths, "official", "code")
    with pytest.raises(ValueError, match="numbers of different protocols do not compare"):
        compare_mask_tables(one, official, CLASSES)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"true_pixels": 41}, "film a has 41 true pixels of left in place of 40; compare runs of one data.masks.mask"),
        ({"pixels": 400}, "film a has 400 pixels of left in place of 100; compare runs on packs of one size"),
    ],
)
def test_other_masks_and_sizes_are_refused(other, message, tmp_path):
    written(tmp_path / "0.parquet", 0)
    written(tmp_path / "1.parquet", 1, **other)
    one, rival = (Table(name, (tmp_path / f"{name}.parquet",)) for name in "01")
    with pytest.raises(ValueError, match=rf"1\.parquet was scored on other masks than .*0\.parquet: {message}"):
        compare_mask_tables(one, rival, CLASSES)
    with pytest.raises(ValueError, match=message):
        compare_mask_tables(Table("both", (*one.paths, *rival.paths)), one, CLASSES)
