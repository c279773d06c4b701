"""Classifiers on each other's test films: the matrix over shared findings, and what does not stand in one."""

import csv
import json

import pytest
from PIL import Image
from result_content import content

from evax.report.__main__ import main
from evax.report.record import ResultError
from evax.report.transfer import write_transfer

SYNONYMS = {"Pleural Effusion": "Effusion"}
UNTRAINED = {"chosen": None, "trials": [], "num_train": 0, "train_ids_digest": ""}  # as features=classifier writes


def evaluation(folder, classifier, data, auroc, **changes):
    """An evaluation whose findings scored `auroc`; None was not scored."""
    folder.mkdir(parents=True)
    intervals = {
        name: {"value": value, "low": None if value is None else value - 0.1, "high": None if value is None else value}
        for name, value in auroc.items()
    }
    known = [value for value in auroc.values() if value is not None]
    base = content(classifier, sum(known) / len(known), **UNTRAINED)
    base |= {"data": data, "findings": list(auroc), "auroc": intervals}
    (folder / "results.json").write_text(json.dumps(base | changes))
    return folder


@pytest.fixture
def evaluations(tmp_path):
    """Two classifiers on one's test films, the first on the other's, too."""
    evaluation(tmp_path / "runs" / "0", "nih", "cxr14/official", {"Mass": 0.9, "Effusion": 0.8, "Edema": 0.7})
    evaluation(tmp_path / "runs" / "1", "nih", "chexpert/official", {"Edema": 0.6, "Pleural Effusion": 0.7})
    evaluation(tmp_path / "runs" / "2", "stanford", "cxr14/official", {"Effusion": 0.5, "Edema": 0.75, "Mass": None})
    return tmp_path / "runs"


def test_cells_are_means_over_the_findings_of_all(evaluations, tmp_path):
    text = write_transfer(tmp_path / "out", [evaluations], SYNONYMS)
    assert "| nih | 0.750 | 0.650 |" in text
    assert "| stanford | 0.625 | – |" in text
    assert "Mean AUROC over Effusion, Edema; – was not scored." in text
    assert text.endswith("\n2 of 3 findings; Mass: not scored (nih on chexpert/official)\n")
    assert (tmp_path / "out" / "transfer.md").read_text() == text


def test_the_csv_keeps_all_findings_with_their_intervals(evaluations, tmp_path):
    write_transfer(tmp_path / "out", [evaluations], SYNONYMS)
    rows = list(csv.DictReader((tmp_path / "out" / "transfer.csv").read_text().splitlines()))
    assert len(rows) == 8
    effusion = next(row for row in rows if row["data"] == "chexpert/official" and row["finding"] == "Effusion")
    assert (effusion["classifier"], effusion["auroc"], effusion["low"]) == ("nih", "0.7", "0.6")
    assert [row["auroc"] for row in rows if row["classifier"] == "stanford" and row["finding"] == "Mass"] == [""]


def test_a_finding_that_is_not_shared_has_the_reason_of_its_evaluation(evaluations, tmp_path):
    told = {"not_scored": {"Hernia": "no positive test images"}}
    evaluation(tmp_path / "runs" / "3", "third", "vindr/official", {"Effusion": 0.5, "Edema": 0.6, "Mass": 0.7}, **told)
    text = write_transfer(tmp_path / "out", [evaluations / "0", tmp_path / "runs" / "3"], SYNONYMS)
    assert "3 of 4 findings; Hernia: not scored (nih on cxr14/official)" in text
    rows = list(csv.DictReader((tmp_path / "out" / "transfer.csv").read_text().splitlines()))
    assert [row["not_scored"] for row in rows if row["finding"] == "Hernia"] == ["no positive test images"]


def test_the_figure_grows_with_the_matrix(evaluations, tmp_path):
    write_transfer(tmp_path / "all", [evaluations], SYNONYMS)
    write_transfer(tmp_path / "one", [evaluations / "0"], SYNONYMS)
    with Image.open(tmp_path / "all" / "transfer.png") as large, Image.open(tmp_path / "one" / "transfer.png") as small:
        assert large.width > small.width
        assert large.height > small.height


@pytest.mark.parametrize(
    ("classifier", "auroc", "changes", "message"),
    [
        ("nih", {"Edema": 0.6}, {}, "nih on cxr14/official comes twice"),
        ("other", {"Edema": 0.6}, {"protocol": "official", "recipe": "code"}, "does not compare with clean"),
        ("other", {"Nodule": 0.6}, {}, "no finding was scored in all"),
    ],
)
def test_what_does_not_stand_in_one_matrix_is_refused(classifier, auroc, changes, message, evaluations, tmp_path):
    extra = evaluation(tmp_path / "extra", classifier, "cxr14/official", auroc, **changes)
    with pytest.raises(ResultError, match=message):
        write_transfer(tmp_path / "out", [evaluations, extra], SYNONYMS)


OF_A_RUN = {"chosen": None, "trials": []}


@pytest.mark.parametrize("changes", [{}, OF_A_RUN], ids=["a floor", "a run"])
def test_other_results_below_a_folder_are_no_rows(changes, evaluations, tmp_path):
    before = write_transfer(tmp_path / "out", [evaluations], SYNONYMS)
    other = evaluations / "0" / "evaluation" / "pixels"
    other.mkdir(parents=True)
    (other / "results.json").write_text(json.dumps(content("pixels", 0.6, **changes)))
    maps = evaluations / "0" / "explanation" / "test"
    maps.mkdir(parents=True)
    (maps / "results.json").write_text(json.dumps({"name": "test", "methods": ["grad_cam"]}))
    assert write_transfer(tmp_path / "out", [evaluations], SYNONYMS) == before
    with pytest.raises(ResultError, match=r"pixels: holds no results.json of features=classifier"):
        write_transfer(tmp_path / "out", [other], SYNONYMS)


def test_a_folder_without_results_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["transfer", str(tmp_path), "--out", str(tmp_path / "out")])
    assert end.value.code == 2
    assert f"{tmp_path}: holds no results.json" in capsys.readouterr().err


def test_the_command_writes_and_shows_the_matrix(evaluations, tmp_path, caplog):
    with caplog.at_level("INFO", logger="evax.report"):
        main(["transfer", str(evaluations), "--out", str(tmp_path / "out")])
    assert "| nih | 0.750 | 0.650 |" in caplog.text
