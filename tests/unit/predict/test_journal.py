"""What an output folder holds is read back as it was written, however its end came."""

import json

import numpy as np
import pytest

from evax.config import ConfigError
from evax.predict.journal import FOLDER, RECORDS, SETTINGS, Journal, Record

SETTINGS_OF_A = {"kind": "classifier", "weights": "a", "classes": ["x"], "view": [], "version": "1", "images": "/ward"}
TABLES = ("rows.csv", "others")


def journal(output, **changed):
    return Journal(output, SETTINGS_OF_A | changed, TABLES)


def vectors(*rows):
    return np.array(rows, np.float32)


FIRST = [Record("bad\n.txt", 3, 4, (), "not_an_image", "no, \u00fc"), Record("a", 1, 2, ("0.5", "1e-09"))]
SECOND = [Record("b\t,\"'", 5, 2**62, ("0.25", "0")), Record("c", 6, 7, ("1", "1"), mask="masks/c.png")]


@pytest.fixture
def written(tmp_path):
    """An output with two batches."""
    with journal(tmp_path) as made:
        made.add(FIRST, vectors([1, 2]))
        made.add(SECOND, vectors([3, 4], [5, 6]))
    return tmp_path


def held(output):
    """Records and embeddings of an output."""
    with journal(output) as there:
        names = [name for name, record in there.records.items() if not record.reason]
        found = [None if vector is None else vector.tolist() for vector in there.vectors(names)]
        return list(there.records.values()), dict(zip(names, found, strict=True))


def test_records_and_embeddings_come_back(written):
    records, found = held(written)
    assert records == FIRST + SECOND
    assert found == {"a": [1, 2], SECOND[0].name: [3, 4], "c": [5, 6]}


def test_embeddings_come_in_any_order(written):
    with journal(written) as there:
        assert [vector.tolist() for vector in there.vectors(["c", "a", "c"])] == [[5, 6], [1, 2], [5, 6]]
        assert list(there.vectors(["unknown"])) == [None]


def test_a_torn_last_line_is_dropped_and_written_over(written):
    path = written / FOLDER / RECORDS
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    for cut in (start, start + 1, start + 5, start + 12, len(whole) - 20, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert held(written)[0] == FIRST
        assert path.read_bytes() == whole[:start]
    path.write_bytes(whole[:-7])
    with journal(written) as there:
        there.add(SECOND, vectors([3, 4], [5, 6]))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("garbage", [b"\0" * 50, b"zz\tx\n", b"\n", b"00000000\t[]\t\n", "ü\n".encode()])
def test_what_a_broken_disk_left_is_not_believed(garbage, written):
    path = written / FOLDER / RECORDS
    whole = path.read_bytes()
    path.write_bytes(whole + garbage)
    assert held(written)[0] == FIRST + SECOND
    flipped = bytearray(whole)
    flipped[whole.index(b"\n") + 30] ^= 1
    path.write_bytes(flipped)
    assert held(written)[0] == FIRST


def test_a_later_record_of_a_file_counts(written):
    with journal(written) as there:
        there.add([Record("a", 9, 9, ("0.7", "0.8"))], vectors([7, 8]))
        there.add([Record("c", 9, 9, (), "truncated")], None)
    records, found = held(written)
    assert {record.name: record.size for record in records} == {"bad\n.txt": 3, "a": 9, SECOND[0].name: 5, "c": 9}
    assert found == {"a": [7, 8], SECOND[0].name: [3, 4]}


def test_settled_records_have_their_embeddings_elsewhere_and_may_grow(written):
    with journal(written) as there:
        there.settle()
        assert not there.embedded
        there.add([Record("d", 1, 1, ("0", "1"))], vectors([9, 9]))
    records, found = held(written)
    assert records == [*FIRST, *SECOND, Record("d", 1, 1, ("0", "1"))]
    assert found == {"a": None, SECOND[0].name: None, "c": None, "d": [9, 9]}
    assert len(json.loads((written / FOLDER / SETTINGS).read_bytes())) == len(SETTINGS_OF_A)


def test_many_settled_records(tmp_path):
    records = [Record(str(number), number, 0, ("0.1",)) for number in range(2500)]
    with journal(tmp_path) as there:
        there.add(records)
        there.settle()
    assert held(tmp_path)[0] == records


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights": "b"}, "there are predictions by other weights; give another --output, or delete that folder"),
        ({"classes": ["y"]}, "by other weights"),
        ({"images": "/other"}, "of other images (/ward)"),
        ({"kind": "segmenter"}, "of another kind"),
        ({"view": [3]}, "at another size"),
        ({"thresholds": [0.5]}, "with other thresholds"),
        ({"version": "2"}, "by evax 1"),
    ],
)
def test_predictions_of_another_kind_are_not_mixed(changed, said, written):
    before = (written / FOLDER / RECORDS).read_bytes()
    with pytest.raises(ConfigError) as caught, journal(written, **changed):
        pass
    assert f"--output {written}: " in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (written / FOLDER / RECORDS).read_bytes() == before


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_another_origin_are_left_alone(name, tmp_path):
    (tmp_path / name).mkdir()
    with (
        pytest.raises(ConfigError, match=f"there is a {name} of another origin; give another --output"),
        journal(tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("content", [b"", b"{", b"3", b"[1]"])
def test_damaged_settings_are_named(content, written):
    (written / FOLDER / SETTINGS).write_bytes(content)
    with pytest.raises(ConfigError, match=r"settings\.json is damaged"), journal(written):
        pass
