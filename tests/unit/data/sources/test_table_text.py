"""Tables and lists of downloads that a program has saved again in another encoding."""

import gzip

import pytest

from evax.data.sources.covidx_lists import read_list
from evax.data.sources.cxr14_tables import Entry, read_splits
from evax.data.sources.masked import read_members
from evax.data.sources.tables import read_rows

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32")
LINES = ("one.png", "two.png")


def written(folder, lines, encoding, end="\r\n"):
    (folder / "train.txt").write_bytes("".join(f"{line}{end}" for line in lines).encode(encoding))
    return folder / "train.txt"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_of_names(encoding, tmp_path):
    path = written(tmp_path, LINES, encoding)
    assert read_members({"train": path}, []) == dict.fromkeys(LINES, "train")
    entries = dict.fromkeys(LINES, Entry("", frozenset(), "", "1", 50.0, "", ""))
    assert read_splits(tmp_path, {"train": path.name}, entries, []) == dict.fromkeys(LINES, "train")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_of_covidx(encoding, end, tmp_path):
    path = written(tmp_path, ["7 one.png normal rsna", "8 two words.png normal nih"], encoding, end)
    refusals = []
    assert list(read_list(path, "train", ["normal"], refusals)) == ["one.png", "two words.png"]
    assert not refusals


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tables_of_downloads(encoding, is_packed, tmp_path):
    content = "name,label\r\n\u00e9,1\r\n".encode(encoding)
    (tmp_path / "table.csv").write_bytes(gzip.compress(content) if is_packed else content)
    assert list(read_rows(tmp_path / "table.csv", ["label", "name"], "the hub")) == [{"label": "1", "name": "\u00e9"}]
