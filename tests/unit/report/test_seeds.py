"""Which settings may differ between runs that count as seeds of one method."""

import pytest
from omegaconf import OmegaConf

from evax.report.seeds import differing_key

SETTINGS = {
    "name": "finetune",
    "seed": 0,
    "weights": "runs/hog",
    "weights_sha256": "a" * 64,
    "backbone": {"name": "eva_x_tiny", "weights": "runs/hog"},
    "data": {"pack": "packs/cxr14", "seed": 0, "fraction": 1.0, "fraction_seed": 0, "labels": {"uncertain": "ones"}},
    "trainer": {"devices": 1, "max_epochs": 10},
    "callbacks": {"progress": None},
    "logger": {},
    "lora": None,
}


def changed(**changes):
    return SETTINGS | {key: SETTINGS[key] | new if isinstance(new, dict) else new for key, new in changes.items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "again", "seed": 3, "data": {"pack": "elsewhere", "seed": 3, "fraction_seed": 3}},
        {"weights": "copy/hog", "backbone": {"weights": "copy/hog"}},
        {"trainer": {"devices": 4}},
        {"callbacks": {"progress": {"_target_": "evax.callbacks.Progress"}}, "logger": {"wandb": {"project": "evax"}}},
    ],
)
def test_seeds_and_what_decides_no_score_may_differ(changes):
    assert differing_key(SETTINGS, changed(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"data": {"fraction": 0.1}}, "data.fraction"),
        ({"data": {"labels": {"uncertain": "zeros"}}}, "data.labels.uncertain"),
        ({"trainer": {"max_epochs": 5}}, "trainer.max_epochs"),
        ({"weights_sha256": "b" * 64}, "weights_sha256"),
        ({"weights": None, "weights_sha256": None}, "weights_sha256"),
    ],
)
def test_the_first_other_key_is_named(changes, key):
    assert differing_key(SETTINGS, changed(**changes)) == key
    assert differing_key(changed(**changes), SETTINGS) == key


def test_a_part_that_one_lacks_differs_and_null_does_not():
    assert differing_key(SETTINGS, SETTINGS | {"lora": {"rank": 8}}) == "lora.rank"
    assert differing_key(SETTINGS, {key: value for key, value in SETTINGS.items() if key != "lora"}) is None


def test_without_a_digest_the_path_tells_weights_apart():
    there = changed(weights_sha256=None)
    assert differing_key(there, there | {"weights": "runs/second"}) == "weights"


def test_weights_of_runs_that_differ_in_their_seeds_count_as_seeds(tmp_path):
    def began_from(name, file="best.ckpt", **ancestor):
        (tmp_path / name).mkdir()
        OmegaConf.save(changed(weights=None, weights_sha256=None, **ancestor), tmp_path / name / "config.yaml")
        return changed(weights=str(tmp_path / name / file), weights_sha256=name * 64)

    first = began_from("a")
    assert differing_key(first, began_from("b", seed=1)) is None
    assert differing_key(first, began_from("c", seed=1, trainer={"max_epochs": 5})) == "weights_sha256"
    assert differing_key(first, began_from("d", file="", seed=1)) is None  # its folder
    assert differing_key(first, began_from("e", file="checkpoints/step-000001.ckpt", seed=1)) == "weights_sha256"
    assert differing_key(first, began_from("f")) == "weights_sha256"  # the same seed, and yet other weights
    assert differing_key(first, first | {"weights_sha256": "0" * 64}) == "weights_sha256"
    assert differing_key(first, changed(weights_sha256="d" * 64)) == "weights_sha256"
