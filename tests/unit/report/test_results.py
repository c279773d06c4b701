import json
import subprocess
import sys
from pathlib import Path

import pytest
from result_content import content

from evax.report.__main__ import main
from evax.report.record import Result, read_results
from evax.report.results import render, write_results

REPOSITORY = Path(__file__).parents[3]


def results(*contents):
    return [Result.from_json(json.dumps(item), item["name"]) for item in contents]


def test_committed_page_is_the_committed_results_byte_for_byte(tmp_path):
    write_results(REPOSITORY / "results", tmp_path / "results.md")
    assert (REPOSITORY / "docs" / "results.md").read_bytes() == (tmp_path / "results.md").read_bytes(), (
        "docs/results.md is stale: run `python -m evax.report results`"
    )


def test_the_committed_results_stand_beside_their_floors():
    methods = {result.name for result in read_results(REPOSITORY / "results")}
    assert methods >= {"sample_hog", "sample_random", "sample_pixels", "sample_view"}


def test_page_does_not_depend_on_the_order_of_files():
    items = results(content("a", 0.7), content("b", 0.8), content("c", 0.7, data="phantom"))
    assert render(items) == render(items[::-1])


def test_methods_stand_from_best_to_worst():
    page = render(results(content("a", 0.7), content("b", 0.8)))
    assert page.index("| method b | **0.800** [0.750, 0.850]") < page.index("| method a | **0.700**")


def test_protocols_never_share_a_table():
    page = render(results(content("a", 0.7), content("b", 0.8, protocol="official", recipe="paper")))
    clean, official = page.split("## nih_cxr14_sample, protocol ")[1:]
    assert "method b" not in clean
    assert "method a" not in official
    assert official.startswith("official, recipe paper\n")


def test_provenance_and_notes_are_shown():
    page = render(results(content("a", 0.7)))
    assert "- command: `python tools/probe.py a|b`" in page
    assert "- commit `dddddddddddd`, config `cccccccccccc`, seed 3, train ids `aaaaaaaaaaaa`" in page
    assert "2,140 test films of 140 patients, ids `bbbbbbbbbbbb`; 1,000 resamples." in page
    assert "- tried: two poolings" in page


def test_paired_difference_carries_its_sign():
    paired = [{"rival": "b", "auroc_macro": {"value": -0.1, "low": -0.2, "high": 0.01}}]
    page = render(results(content("a", 0.7, comparisons=paired), content("b", 0.8)))
    assert "| method a | method b | −0.100 [−0.200, +0.010] |" in page


def test_undefined_finding_is_named():
    undefined = {"value": None, "low": None, "high": None}
    item = content("a", 0.7)
    item["auroc"]["Mass"] = undefined
    page = render(results(item))
    assert "- 1 of 2 findings; Mass: could not be scored" in page
    assert "| method | macro over 1 of 2 | Pneumonia |" in page
    assert "| method a | – | 0.700 [0.650, 0.750] |" in page


def test_what_belongs_beside_a_number_stands_there():
    told = {
        "not_scored": {"Mass": "no negative test images", "Nodule": "class not in the model's outputs"},
        "remarks": {"Pneumonia": "5 positives"},
        "cautions": ["threshold of Mass fitted on 3 positives"],
    }
    item = content("a", 0.7, **told)
    item["auroc"]["Mass"] = {"value": None, "low": None, "high": None}
    page = render(results(item))
    assert "- 1 of 3 findings; Mass: no negative test images; Nodule: class not in the model's outputs" in page
    assert "0.700 [0.650, 0.750] (5 positives)" in page
    assert "- threshold of Mass fitted on 3 positives\n" in page
    item["no_interval"] = {"Pneumonia": "1 positive patient"}
    item["auroc"]["Pneumonia"] = {"value": 0.7, "low": None, "high": None}
    assert "| 0.700 (no interval: 1 positive patient; 5 positives) |" in render(results(item))


def test_method_without_a_choice_has_dashes():
    assert "| 634 | – | – | – |" in render(results(content("a", 0.7, chosen=None, trials=[])))


def test_every_table_row_has_the_cells_of_its_header():
    page = render(results(content("a", 0.7, method="x | y"), content("b", 0.8)))
    tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    for rows in tables:
        assert len({row.replace("\\|", "").count("|") for row in rows}) == 1


def test_command_writes_the_page(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(content("a", 0.7)))
    main(["results", "--results", str(tmp_path), "--out", str(tmp_path / "docs" / "page.md")])
    assert (tmp_path / "docs" / "page.md").read_text() == render(read_results(tmp_path))


def test_command_ends_a_mistake_with_one_line(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(SystemExit) as exit_info:
        main(["results", "--results", str(tmp_path), "--out", str(tmp_path / "page.md")])
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "error: a.json: field 'name' is missing\n"
    assert not (tmp_path / "page.md").exists()


def test_report_reads_no_other_part_of_evax():
    code = "import sys, evax.report.__main__; print([m for m in sys.modules if m.startswith('evax.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "evax.report.curves" in loaded
    assert all(part.startswith("'evax.report") for part in loaded.strip("[]\n").split(", "))
