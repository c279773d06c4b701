"""Errors of masks are painted as they are, and results of segmentations get a section of their own."""

import json

import numpy as np
import pytest

from evax.report.record import ResultError
from evax.report.results import write_results
from evax.report.segmentation import ERRORS, Shown, draw_overlays, draw_worst, errors, painted, rgb
from evax.report.segmentation_record import LABELS, SegmentationResult, headlines, read_any, summarise_masks

TRUTH = np.array([[0, 0, 1, 1, 2]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 0, 1]], np.uint8)


def content(name="lungs", dice=0.9, **changes):
    score = {"value": dice, "low": dice - 0.1, "high": dice + 0.05}
    return {
        "task": "segmentation",
        "name": name,
        "method": f"method {name}",
        "data": "phantom/official",
        "protocol": "clean",
        "recipe": "",
        "classes": ["lung"],
        "inference": "whole film, flip",
        "thresholds": {"lung": 0.42},
        "threshold_from": "validation films",
        "scores": {name: {"lung": score, "mean": score} for name in LABELS},
        "numbers": {"lung": dict.fromkeys(("films", "positive", "empty", "measured", "missed", "false_alarms"), 3)},
        "num_train": 10,
        "num_test": 6,
        "num_test_patients": 5,
        "num_draws": 1000,
        "seed": 0,
        "train_ids_digest": "a" * 64,
        "test_ids_digest": "b" * 64,
        "config_hash": "c" * 16,
        "commit": "d" * 12,
        "command": "python train.py experiment=segment_lung_vit_s",
        "notes": [],
        **changes,
    }


def test_each_kind_of_error_has_its_value_and_colour():
    kinds = errors(TRUTH, PREDICTION)
    assert kinds.tolist() == [[0, 2, 1, 3, 4]]
    film = np.full(TRUTH.shape, 100, np.uint8)
    pixels = painted(film, kinds, tuple(ERRORS.values()))
    assert pixels[0, 0].tolist() == [100, 100, 100]
    expected = [[round((100 + channel) / 2) for channel in rgb(color)] for color in ERRORS.values()]
    assert pixels[0, [2, 1, 3, 4]].astype(int) == pytest.approx(np.array(expected), abs=1)


def test_figures_are_drawn_of_few_films_and_of_none_with_a_score(tmp_path):
    films = [
        Shown(row, np.full((8, 5), 90, np.uint8), *(np.repeat(m, 8, 0) for m in (TRUTH, PREDICTION)), 0.5)
        for row in (3, 4)
    ]
    draw_overlays(films, ("a", "b"), "Films", tmp_path / "overlays.png")
    draw_worst([films[0]._replace(dice=None)], ("a",), tmp_path / "worst.png")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("overlays.png", "worst.png"))


def test_page_has_a_section_of_segmentations_from_best_to_worst(tmp_path):
    (tmp_path / "results" / "segmentation").mkdir(parents=True)
    for name, dice in (("worse", 0.8), ("better", 0.9)):
        (tmp_path / "results" / "segmentation" / f"{name}.json").write_text(json.dumps(content(name, dice)))
    write_results(tmp_path / "results", tmp_path / "results.md")
    page = (tmp_path / "results.md").read_text()
    assert "## Segmentation" in page
    assert page.index("method better") < page.index("method worse")
    assert "0.900 [0.800, 0.950]" in page
    assert "0.42 (validation films)" in page


def test_other_masks_and_frames_stand_apart_and_older_files_are_read(tmp_path):
    (tmp_path / "results" / "segmentation").mkdir(parents=True)
    told = {"older": {}, "first": {"mask": "lungs", "frame": 512}, "last": {"mask": "lungs_last", "frame": 512},
            "small": {"mask": "lungs", "frame": 224}}  # fmt: skip
    for name, changes in told.items():
        (tmp_path / "results" / "segmentation" / f"{name}.json").write_text(json.dumps(content(name, **changes)))
    write_results(tmp_path / "results", tmp_path / "results.md")
    titles = [line for line in (tmp_path / "results.md").read_text().splitlines() if line.startswith("### phantom")]
    assert titles == [
        "### phantom/official, protocol clean: lung",
        "### phantom/official, protocol clean, mask lungs of 224 pixels: lung",
        "### phantom/official, protocol clean, mask lungs of 512 pixels: lung",
        "### phantom/official, protocol clean, mask lungs_last of 512 pixels: lung",
    ]


def test_a_class_that_no_image_shows_is_named_with_its_reason():
    score, nothing = {"value": 0.9, "low": 0.8, "high": 0.95}, dict.fromkeys(("value", "low", "high"))
    of = {"lung": score, "heart": nothing, "mean": score}
    scores = dict.fromkeys(LABELS, of) | {"film_specificity": dict.fromkeys(of, nothing)}
    numbers = dict.fromkeys(("lung", "heart"), content()["numbers"]["lung"])
    told = {"remarks": {"lung": "3 positives"}, "threshold_remarks": {"lung": "threshold fitted on 2 positives"}}
    thresholds = {"lung": 0.42, "heart": 0.5}
    item = content(classes=["lung", "heart"], scores=scores, numbers=numbers, thresholds=thresholds, **told)
    result = SegmentationResult.from_json(json.dumps(item), "results.json")
    text = summarise_masks(result)
    assert "[0.800, 0.950]  1 of 2 classes; heart: no positive test images" in text
    assert f"{'empty films left empty':<50} not scored: no empty test images" in text
    assert f"{'Dice, pooled: lung':<50} 0.900  [0.800, 0.950] (3 positives)" in text
    assert f"{'Dice, pooled: heart':<50} not scored: no positive test images" in text
    assert "threshold: lung 0.42 (threshold fitted on 2 positives), heart 0.5, by" in text
    assert "–" not in text


def test_a_result_is_read_strictly_and_told_from_others():
    result = read_any(json.dumps(content(), indent=2), "results.json")
    assert isinstance(result, SegmentationResult)
    assert headlines(result, "macro AUROC") == {"pooled Dice": result.headline}
    assert "0.900  [0.800, 0.950]" in summarise_masks(result)
    with pytest.raises(ResultError, match="field 'extra' is unknown"):
        SegmentationResult.from_json(json.dumps(content(extra=1)), "results.json")
    scores = {name: score for name, score in content()["scores"].items() if name != "hd95_px"}
    with pytest.raises(ResultError, match=r"field 'scores\.hd95_px' is missing"):
        SegmentationResult.from_json(json.dumps(content(scores=scores)), "results.json")
    with pytest.raises(ResultError, match="field 'recipe' is code or paper under protocol official"):
        SegmentationResult.from_json(json.dumps(content(protocol="official")), "results.json")
