"""A split that was published with patients on both sides: counted under official, refused under clean."""

import pytest
from composing import composed
from mask_trees import good_rsna, rsna_id, write_lists
from omegaconf import OmegaConf

from evax.commands.evaluate.any_segmenter import films_with_masks
from evax.commands.evaluate.probe import evaluate
from evax.data.leakage import LeakageError
from evax.data.module import PackDataModule
from evax.data.prepare import prepare
from evax.data.sources.rsna import RsnaSource
from evax.predict.loading import load_segmenter
from evax.runs.build import check_films
from evax.runs.gate import check_apart


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
    with pytest.raises(LeakageError, match=r"shares 1 patients and 1 films with the test set rsna/clean/test"):
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
