import json

import pytest
from cxr14_tree import good_tree

from evax.data.leakage import Cohort, LeakageError, check_gate, cohort, crossing
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source


def _cohort(name, patients=(), files=(), pixels=()):
    return Cohort(name, frozenset(patients), frozenset(files), frozenset(pixels))


def test_crossing_names_keys_and_splits():
    keys = ["a", "a", "b", "b", "c", "c"]
    splits = ["train", "test", "val", "val", "train", ""]
    assert crossing(keys, splits) == {"a": ("test", "train")}


def test_verdict_is_plain_and_passes():
    verdict = check_gate(_cohort("a", ["a:1"]), [_cohort("b", ["b:1"]), _cohort("c", ["c:1"])])
    assert json.loads(json.dumps(verdict)) == verdict
    assert verdict["checked"] == ["b", "c"]
    assert verdict["passed"] is True


@pytest.mark.parametrize(
    ("test", "counts"),
    [
        (_cohort("t", ["a:1", "a:2"]), "2 patients and 0 films"),
        (_cohort("t", ["b:1"], files=["f"]), "0 patients and 1 films"),
        (_cohort("t", ["b:1"], pixels=["p"]), "0 patients and 1 films"),
    ],
)
def test_an_overlap_stops_and_is_counted(test, counts):
    pretraining = _cohort("a", ["a:1", "a:2"], ["f"], ["p"])
    with pytest.raises(LeakageError, match=f"a shares {counts}"):
        check_gate(pretraining, [_cohort("clean"), test])


def test_the_message_names_no_patient():
    with pytest.raises(LeakageError) as caught:
        check_gate(_cohort("a", ["secret"]), [_cohort("b", ["secret"])])
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    root = tmp_path_factory.mktemp("leakage")
    source = ChestXray14Source(good_tree(root / "raw").write())
    prepare(source, root / "pack", size=16, workers=0)
    return Pack(root / "pack")


def test_cohorts_of_one_pack_are_apart(pack):
    train, test = cohort(pack, "official", ["train", "val"]), cohort(pack, "official", ["test"])
    assert test.patients == {"cxr14:1004", "cxr14:1005"}
    assert (len(train.pixels), len(test.files)) == (8, 4)
    assert check_gate(train, [test])["passed"]


def test_pretraining_on_the_test_films_is_caught(pack):
    everything = cohort(pack, "official", ["train", "val", "test"])
    with pytest.raises(LeakageError, match="shares 2 patients and 4 films with the test set cxr14/official/test"):
        check_gate(everything, [cohort(pack, "official", ["test"])])
