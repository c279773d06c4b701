import hashlib

import numpy as np
import pytest

from evax.evaluation.predictions import ids_digest, read_predictions, write_predictions

SCORES = np.array([[0.1, 0.2], [0.3, np.nan]], dtype=np.float32)


def test_table_comes_back(tmp_path):
    path = tmp_path / "predictions" / "test.parquet"
    write_predictions(path, np.array(["b.png", "a.png"]), SCORES, ("Mass", "Edema"))
    ids, scores = read_predictions(path, ("Edema", "Mass"))
    assert ids.tolist() == ["b.png", "a.png"]
    np.testing.assert_array_equal(scores, SCORES[:, ::-1])


def test_film_scored_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"test\.parquet: an image id occurs twice"):
        write_predictions(tmp_path / "test.parquet", np.array([4, 4]), SCORES, ("Mass", "Edema"))


def test_missing_finding_is_named(tmp_path):
    write_predictions(tmp_path / "test.parquet", np.array([4, 5]), SCORES, ("Mass", "Edema"))
    with pytest.raises(ValueError, match="no column Hernia; it holds Mass, Edema"):
        read_predictions(tmp_path / "test.parquet", ("Hernia",))


def test_digest_ignores_order_and_is_that_of_sorted_lines():
    expected = hashlib.sha256(b"a\nb").hexdigest()
    assert ids_digest(np.array(["b", "a"])) == ids_digest(np.array(["a", "b"])) == expected
