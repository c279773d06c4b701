"""Whose films are kept from the test films; a split that was published with patients on both sides."""

from dataclasses import replace

import pytest
from composing import composed
from mask_trees import good_rsna, rsna_id, write_lists
from omegaconf import OmegaConf

from evax.commands.evaluate.any_segmenter import films_with_masks
from evax.commands.evaluate.probe import evaluate
from evax.commands.train.fit import check_weights
from evax.data.leakage import LeakageError
from evax.data.module import PackDataModule
from evax.data.prepare import prepare
from evax.data.sources.phantom import PhantomSource
from evax.data.sources.rsna import RsnaSource
from evax.predict.loading import load_segmenter
from evax.runs.build import check_films
from evax.runs.gate import UNKNOWN, check_apart, check_not_chosen_on, check_patients, check_val, lineage


@pytest.fixture(scope="module")
def rsna(tmp_path_factory):
    """A pack whose lists share a patient."""
    folder = tmp_path_factory.mktemp("rsna")
    write_lists(folder / "raw/lists", train=[rsna_id(0), rsna_id(2)], test=[rsna_id(1), rsna_id(3)])
    prepare(RsnaSource(good_rsna(folder / "raw").write()), folder / "pack", size=64, workers=0)
    return folder / "pack"


def films(pack, split, *fit_on):
    return PackDataModule(pack=pack, image_size=64, batch_size=1, seed=0, split=split, fit_on=fit_on)


def test_one_published_split_is_counted_and_two_splits_are_kept_apart(rsna, caplog):
    official = films(rsna, "official", "train")
    check_apart(official, official)
    assert "rsna/official/train was published with 1 patients of rsna/official/test in it" in caplog.text
    with pytest.raises(LeakageError, match=r"shares 1 patients and 1 images with the test set rsna/clean/test"):
        check_apart(official, films(rsna, "clean"))


def test_clean_refuses_a_split_that_leaks(rsna, tmp_path):
    words = r"data\.split=official: was published with 1 patients on both sides, which protocol=clean refuses"
    with pytest.raises(LeakageError, match=words):
        check_films(OmegaConf.create({"protocol": "clean"}), films(rsna, "official", "train"))
    probe = composed("data=rsna", f"data.pack={rsna}", "data.split=official", "features=pixels", root="evaluate")
    with pytest.raises(LeakageError, match=words):
        evaluate(probe, tmp_path)


def test_weights_are_scored_on_the_split_and_masks_of_their_protocol_unless_others_are_named(rsna, segmented_run):
    segmenter = load_segmenter(segmented_run)
    words = ["data=rsna", f"data.pack={rsna}", "~data.masks.classes.pneumonia", "+data.masks.classes.lung=[1]"]

    def read(protocol, *named):
        data = films_with_masks(composed(*words, *named, root="evaluate"), segmenter, protocol, [*words, *named])
        return data.split, data.masks.name

    assert read("clean") == ("clean", "pneumonia")
    assert read("official") == ("official", "pneumonia_last")
    assert read("official", "data.split=clean", "data.masks.mask=pneumonia") == ("clean", "pneumonia")


class Permuted(PhantomSource):
    """The same films in other splits."""

    def __init__(self, **to: str) -> None:
        super().__init__(num_films=120, films_per_patient=1, size=64)
        self.to = to

    def films(self):
        films, refusals = super().films()
        return [
            replace(film, splits={name: self.to[split] for name, split in film.splits.items()}) for film in films
        ], refusals


class TwoSchemes(PhantomSource):
    """Films with a second scheme, in which what was test trains."""

    def films(self):
        films, refusals = super().films()
        to = {"train": "test", "val": "val", "test": "train"}
        return [
            replace(film, splits={**film.splits, "turned": to[film.splits["official"]]}) for film in films
        ], refusals


def test_the_split_that_trained_the_weights_is_the_fix_where_it_helps(tmp_path):
    pack = tmp_path / "pack"
    prepare(TwoSchemes(num_films=60, films_per_patient=1, size=64), pack, size=64, workers=0)
    trained = films(pack, "official", "train")
    told = (
        r"^phantom/official/train\+val shares [0-9]+ patients and [0-9]+ images with the test set phantom/turned/test"
    )
    with pytest.raises(LeakageError, match=f"{told}; use data.split=official, on which these weights were trained$"):
        check_apart(trained, films(pack, "turned", "train"))
    everything = films(pack, "official", "train")
    everything.fit_on = ("train", "test")
    with pytest.raises(LeakageError, match=r"; begin from other weights, or test on patients whom"):
        check_apart(everything, films(pack, "turned", "train"))


def permuted(folder, **to):
    """The films of `probe_pack` in other splits."""
    prepare(Permuted(**to), folder, size=64, workers=0)
    return films(folder, "official")


def run_of(folder, pack, *, select_on="val", **other):
    """A run directory that says what it was trained and chosen on."""
    folder.mkdir()
    (folder / "best.ckpt").touch()
    data = {"_target_": "evax.data.module.PhantomData", "pack": str(pack), "image_size": 64, "batch_size": 1, "seed": 0}
    data["select_on"] = select_on
    OmegaConf.save({"data": data, **other}, folder / "config.yaml")
    return folder


def test_films_that_chose_a_checkpoint_are_no_test_films(probe_pack, tmp_path):
    data = permuted(tmp_path / "pack", train="train", val="test", test="test")
    with pytest.raises(LeakageError, match=r"official/train\+val shares 1\d patients"):
        check_apart(films(probe_pack, "official", "train"), data)


def test_films_that_chose_a_checkpoint_are_no_test_films_of_a_clean_run(probe_pack, tmp_path):
    run = run_of(tmp_path / "run", probe_pack, select_on="test")
    later = run_of(tmp_path / "later", probe_pack, weights=str(run))
    for weights in (run, later):
        check_patients(weights, films(probe_pack, "official"))
        with pytest.raises(LeakageError, match=r"[0-9]+ of the test films phantom/official/test chose a checkpoint"):
            check_not_chosen_on(weights, lineage(weights), films(probe_pack, "official"))
        with pytest.raises(LeakageError, match="chose a checkpoint"):
            check_weights(*beginning(weights, probe_pack, "clean"))
        check_weights(*beginning(weights, probe_pack, "official"))
    clean = run_of(tmp_path / "clean", probe_pack)
    check_not_chosen_on(clean, lineage(clean), films(probe_pack, "official"))


def beginning(weights, pack, protocol):
    """A fine-tuning from `weights`, and its films."""
    cfg = composed("experiment=demo_finetune", f"data.pack={pack}", f"weights={weights}", f"protocol={protocol}")
    return cfg, films(pack, "official", "train")


def test_the_runs_that_a_run_began_from_and_was_taught_by_count(probe_pack, tmp_path):
    first = run_of(tmp_path / "first", probe_pack)
    tests = permuted(tmp_path / "tests", train="test", val="val", test="train")
    (tmp_path / "others").mkdir()
    prepare(PhantomSource(num_films=20, seed=9, size=64), tmp_path / "others" / "pack", size=64, workers=0)
    for number, words in enumerate(({"weights": str(first)}, {"tokenizer": {"weights": str(first)}})):
        later = run_of(tmp_path / f"later{number}", tmp_path / "others" / "pack", **words)
        assert [len(lineage(each).films) for each in (first, later)] == [1, 2]
        with pytest.raises(LeakageError):
            check_patients(later, tests)
    assert not lineage(run_of(tmp_path / "lost", tmp_path / "absent")).is_known
    moved = lineage(run_of(tmp_path / "moved", probe_pack, weights="gone.pt"))
    assert (len(moved.films), moved.is_known) == (1, False)


def test_a_run_that_could_not_be_begun_today_still_tells_its_films(probe_pack, tmp_path):
    run = run_of(tmp_path / "run", probe_pack)
    policy = {"_target_": "evax.data.masks.MaskPolicy", "mask": "lungs", "classes": {"right": [1], "left": [2]}}
    saved = OmegaConf.load(run / "config.yaml")
    OmegaConf.save(OmegaConf.merge(saved, {"data": {"masks": policy}}), run / "config.yaml")  # mirrored, as once
    assert lineage(run).films[0].classes == ("right", "left")


def test_a_probe_refuses_films_that_trained_its_weights(probe_pack, tmp_path):
    run = run_of(tmp_path / "run", probe_pack)
    tests = permuted(tmp_path / "tests", train="test", val="val", test="train")
    cfg = composed(f"weights={run}", "data=phantom", f"data.pack={tests.pack.folder}", root="evaluate")
    with pytest.raises(LeakageError, match=r"shares [0-9]+ patients and [0-9]+ images with the test set"):
        evaluate(cfg, tmp_path / "out")


def test_val_films_that_trained_choose_no_threshold(probe_pack, tmp_path):
    run = run_of(tmp_path / "run", probe_pack)
    held_out = films(probe_pack, "official")
    assert check_val(check_patients(run, held_out), held_out) == (True, [])
    trained = permuted(tmp_path / "pack", train="val", val="train", test="test")
    may_fit, notes = check_val(check_patients(run, trained), trained)
    assert not may_fit
    assert "val films trained these weights" in notes[0]
    lost = lineage(run_of(tmp_path / "lost", tmp_path / "absent"))
    assert check_val(lost, held_out) == (True, [UNKNOWN])
