import json

import numpy as np
import pytest
from cxr14_tree import good_tree

from evax.data.leakage import Cohort, LeakageError, check_gate, cohort, crossing
from evax.data.links import patient_key
from evax.data.pack import Pack
from evax.data.prepare import prepare
from evax.data.sources.cxr14 import ChestXray14Source


def _cohort(name, patients=(), files=(), pixels=()):
    return Cohort(name, *(np.array(keys, np.uint64) for keys in (patients, files, pixels)))


def test_crossing_names_keys_and_splits():
    keys = ["a", "a", "b", "b", "c", "c"]
    splits = ["train", "test", "val", "val", "train", ""]
    assert crossing(keys, splits) == {"a": ("test", "train")}


def test_verdict_is_plain_and_passes():
    verdict = check_gate(_cohort("a", [1]), [_cohort("b", [2]), _cohort("c", [3])])
    assert json.loads(json.dumps(verdict)) == verdict
    assert verdict["checked"] == ["b", "c"]
    assert verdict["passed"] is True


@pytest.mark.parametrize(
    ("test", "counts"),
    [
        (_cohort("t", [1, 2]), "2 patients and 0 images"),
        (_cohort("t", [3], files=[7]), "0 patients and 1 images"),
        (_cohort("t", [3], pixels=[8]), "0 patients and 1 images"),
    ],
)
def test_an_overlap_stops_and_is_counted(test, counts):
    pretraining = _cohort("a", [1, 2], [7], [8])
    with pytest.raises(LeakageError, match=f"a shares {counts}"):
        check_gate(pretraining, [_cohort("clean"), test])


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    root = tmp_path_factory.mktemp("leakage")
    source = ChestXray14Source(good_tree(root / "raw").write())
    prepare(source, root / "pack", size=16, workers=0)
    return Pack(root / "pack")


def test_cohorts_of_one_pack_are_apart(pack):
    train, test = cohort(pack, "official", ["train", "val"]), cohort(pack, "official", ["test"])
    assert test.patients.tolist() == sorted(patient_key(patient, "cxr14") for patient in ("1004", "1005"))
    assert (len(train.pixels), len(test.files)) == (8, 4)
    assert check_gate(train, [test])["passed"]


def test_pretraining_on_the_test_films_is_caught(pack):
    everything = cohort(pack, "official", ["train", "val", "test"])
    with pytest.raises(
        LeakageError, match="shares 2 patients and 4 images with the test set cxr14/official/test"
    ) as caught:
        check_gate(everything, [cohort(pack, "official", ["test"])])
    assert not any(patient in str(caught.value) for patient in ("1004", "1005"))
