"""A segmentation run leaves masks, numbers by film, a card, figures and a result; so do other inference and packs."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from composing import composed
from omegaconf import OmegaConf
from PIL import Image

import evax
from evax.commands.evaluate.any_segmenter import check_sides, checked, films_of_run, name_of, score_masks
from evax.commands.evaluate.best_segmenter import chosen_thresholds
from evax.commands.evaluate.compare import compare
from evax.commands.train.hosted import mask_scores, mask_table
from evax.config import ConfigError
from evax.data.masks import MaskPolicy
from evax.data.pack import Pack
from evax.evaluation.segmentation import confusion
from evax.evaluation.segmenting import Inference
from evax.report.segmentation_record import SegmentationResult
from evax.runs.subject import read_run

LUNGS = ["+data.masks._target_=evax.data.masks.MaskPolicy", "+data.masks.mask=lungs", "+data.masks.classes.lung=[1,2]"]


def result_of(folder):
    return SegmentationResult.from_json((folder / "results.json").read_text(), "results.json")


def asked(*words):
    return composed(*words, root="evaluate")


def test_pooled_dice_is_that_of_the_masks_that_were_written(segmented_run, pack_folder):
    pack, policy = Pack(pack_folder), MaskPolicy("lungs", {"lung": [1, 2]})
    files = sorted((segmented_run / "predictions" / "masks").glob("*.png"))
    rows = [int(file.stem) for file in files]
    assert rows == sorted(np.flatnonzero(pack.is_in("official", ["test"])).tolist(), key=str)
    predicted = np.stack([np.array(Image.open(file)) for file in files]) == 1
    true = np.stack([policy(pack.mask("lungs", row)) for row in rows]) == 1
    assert predicted.shape == true.shape == (6, 64, 64)
    by_hand = 2 * (predicted & true).sum() / (predicted.sum() + true.sum())
    result = result_of(segmented_run)
    assert result.headline.value == pytest.approx(by_hand)
    assert result.scores["jaccard_pooled"]["lung"].value == pytest.approx(by_hand / (2 - by_hand))
    table = pd.read_parquet(segmented_run / "predictions" / "test.parquet").set_index("row").loc[rows]
    np.testing.assert_array_equal(table[["tp", "fp", "fn", "tn"]], confusion(predicted, true))


def test_several_classes_are_scored_each_and_by_their_mean(sided_run, pack_folder):
    pack, policy, result = Pack(pack_folder), MaskPolicy("lungs", {"right": [1], "left": [2]}), result_of(sided_run)
    files = sorted((sided_run / "predictions" / "masks").glob("*.png"))
    predicted = np.stack([np.array(Image.open(file)) for file in files])
    true = np.stack([policy(pack.mask("lungs", int(file.stem))) for file in files])
    assert set(np.unique(predicted)) <= {0, 1, 2} == set(np.unique(true))
    by_hand = {}
    for value, name in enumerate(("right", "left"), start=1):
        ours, theirs = predicted == value, true == value
        by_hand[name] = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
        assert result.scores["dice_pooled"][name].value == pytest.approx(by_hand[name])
    assert result.headline.value == pytest.approx(sum(by_hand.values()) / 2)
    assert set(result.thresholds) == {"right", "left"}


def test_several_classes_are_the_same_in_every_use(sided_run, pack_folder, tmp_path):
    segmenter, pack = evax.load_segmenter(sided_run), Pack(pack_folder)
    assert segmenter.classes == ("right", "left")
    for file in (sided_run / "predictions" / "masks").glob("*.png"):
        assert (segmenter.segment(pack.image(int(file.stem))) != np.array(Image.open(file))).mean() < 0.002
    words = [f"weights={sided_run}", "data=phantom", f"data.pack={pack_folder}", "features=segmenter"]
    words += ["+data.masks._target_=evax.data.masks.MaskPolicy", "+data.masks.mask=lungs"]
    words += ["+data.masks.classes.right=[1]", "+data.masks.classes.left=[2]"]
    score_masks(asked(*words), tmp_path, words)
    assert result_of(tmp_path).scores["dice_pooled"] == result_of(sided_run).scores["dice_pooled"]


def test_films_that_lack_a_class_are_scored_on_the_others(sided_run, pack_folder, tmp_path):
    words = [f"weights={sided_run}", "data=phantom", f"data.pack={pack_folder}", "features=segmenter"]
    words += ["+data.masks._target_=evax.data.masks.MaskPolicy", "+data.masks.mask=lungs"]
    words += ["+data.masks.classes.right=[1]", "+data.masks.classes.left=[77]"]  # a value that no film has
    score_masks(asked(*words), tmp_path, words)
    result = result_of(tmp_path)
    assert result.numbers["left"]["positive"] == 0
    assert result.scores["dice_positives"]["left"].value is None
    assert result.scores["dice_pooled"]["right"].value is not None
    assert any(
        re.fullmatch(r"mask lungs: no class has 2 \(.* %\); scored as background", note) for note in result.notes
    )


def test_what_a_run_leaves(segmented_run):
    result = result_of(segmented_run)
    card = json.loads((segmented_run / "report_card.json").read_text())
    assert (result.protocol, result.threshold_from, result.inference) == ("clean", "validation films", "whole film")
    assert (result.mask, result.frame) == ("lungs", 64)
    assert result.numbers["lung"]["positive"] == result.num_test == 6
    curve = card["dice_by_threshold"]
    assert curve["val"]["lung"][round(result.thresholds["lung"] * 100) - 1] == max(curve["val"]["lung"])
    figures = {path.name for path in (segmented_run / "figures").glob("*.png")}
    assert figures >= {"overlays.png", "worst.png", "dice.png", "scores.png"}


def test_dashboards_get_every_score_by_its_convention(segmented_run):
    result = result_of(segmented_run)
    header, rows = mask_table(result)
    assert [row[0] for row in rows] == ["lung", "mean"]
    assert rows[0][header.index("dice_pooled")] == result.headline.value == mask_scores(result)["test/dice_pooled"]


def test_a_segmenter_in_use_makes_the_masks_of_its_run(segmented_run, pack_folder):
    segmenter, pack = evax.load_segmenter(segmented_run), Pack(pack_folder)
    assert segmenter.thresholds == tuple(result_of(segmented_run).thresholds.values())
    for file in (segmented_run / "predictions" / "masks").glob("*.png"):
        mask = segmenter.segment(pack.image(int(file.stem)))
        assert (mask != np.array(Image.open(file))).mean() < 0.002  # rounding next to the threshold


@pytest.mark.slow
def test_other_inference_is_scored_beside_the_run_and_compared_with_it(segmented_run, tmp_path):
    other = [f"run={segmented_run}", "features=segmenter", "flip=true", "window=48", "stride=16"]
    scores = score_masks(asked(*other), tmp_path, other)
    folder = segmented_run / "evaluation" / "segmenter_window_48_16_flip"
    found = result_of(folder)
    assert found.inference == "window=48 stride=16, flip"
    assert scores == {"test/dice_pooled": found.headline.value}
    assert found.headline.value != result_of(segmented_run).headline.value
    words = [f"compare=[{segmented_run},{folder}]"]
    difference = compare(asked(*words), tmp_path / "compared", words)["test/difference"]
    assert difference == pytest.approx(result_of(segmented_run).headline.value - found.headline.value)
    content = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    assert (content["metric"], content["num_films"]) == ("pooled Dice", 6)


@pytest.mark.slow
def test_weights_are_scored_on_a_pack_that_names_the_same_classes(segmented_run, pack_folder, tmp_path):
    words = [f"weights={segmented_run}", "features=segmenter", f"data.pack={pack_folder}"]
    found = score_masks(asked(*words, *LUNGS), tmp_path, words)
    assert found == {"test/dice_pooled": result_of(segmented_run).headline.value}
    with pytest.raises(ConfigError, match=r"data\.masks: its classes are none, and .* segments lung"):
        score_masks(asked(*words), tmp_path / "none", words)


@pytest.mark.parametrize(("words", "batch_size"), [([], 2), (["batch_size=4"], 4)])
def test_films_of_a_run_come_in_its_batches_or_in_those_asked_for(words, batch_size, segmented_run):
    saved = read_run(segmented_run)
    saved.data.per_device_batch = 2
    data = films_of_run(asked(f"run={segmented_run}", *words), saved, words)
    batch = next(iter(data.local_loader(data.dataset(data.rows("val")))))
    assert len(batch["row"]) == batch_size


def test_a_run_of_sides_that_trained_on_mirrored_films_is_scored_still(sided_run):
    saved = read_run(sided_run)
    saved.data.crop.flip = 0.5
    assert films_of_run(asked(f"run={sided_run}"), saved, []).classes == ("right", "left")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["flip=true"], "needs one of run=RUN_DIR, or weights="),
        (["run=a", "weights=b"], "needs one of run=RUN_DIR, or weights="),
        (["run=a", "data=lung"], "data: run=a is scored on its own data"),
        (["run=a", "strengths=[1]"], "strengths: features=segmenter scores as it was trained"),
        (["run=a", "window=0"], "window=0: give a whole number of pixels"),
        (["run=a", "stride=8"], "stride=8: is how far windows are apart, at most window=None"),
        (["run=a", "window=8", "stride=9"], "stride=9: is how far windows are apart, at most window=8"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(words, message):
    nothing = dict.fromkeys(("run", "weights", "flip", "window", "stride"))
    cfg = OmegaConf.merge(nothing, OmegaConf.from_dotlist(words))
    with pytest.raises(ConfigError, match=message):
        checked(cfg, words)


@pytest.mark.parametrize("name", ["left lung", "lung_right", "Left"])
def test_mirrors_are_not_for_sides(name):
    check_sides(Inference(flip=True), ["cleft", "bright spot"])
    check_sides(Inference(), [name])
    with pytest.raises(ConfigError, match=f"flip=true: a mirror makes another side of {name}"):
        check_sides(Inference(flip=True), ["heart", name])


def test_thresholds_are_published_fitted_brought_or_the_middle_and_say_so():
    curve = np.zeros((1, 1, 99, 4), np.int64)
    curve[..., :] = [0, 1, 5, 0]
    curve[0, 0, 69] = [5, 0, 0, 1]
    assert chosen_thresholds("official", 1, curve, (0.6,)) == (np.array([0.3]), "official")
    assert chosen_thresholds("clean", 1, curve, (0.6,)) == (np.array([0.7]), "validation films")
    assert chosen_thresholds("clean", 1, None, (0.6,)) == (np.array([0.6]), "weights")
    assert chosen_thresholds("clean", 1, None, None) == (np.array([0.5]), "nothing")


@pytest.mark.parametrize(
    ("inference", "name"),
    [
        (Inference(), "segmenter"),
        (Inference(flip=True), "segmenter_flip"),
        (Inference(window=64), "segmenter_window_64_32"),
    ],
)
def test_folders_are_named_by_the_inference(inference, name):
    assert name_of(inference) == name
