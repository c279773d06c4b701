"""The view of a W&B project, as an object."""

import sys

import pytest

from evax.report.__main__ import main
from evax.report.workspace import WorkspaceError, build_workspace, save_workspace

pytest.importorskip("wandb_workspaces")
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style")  # inside the library


@pytest.fixture(scope="module")
def sections():
    """Name -> panels, as they would be sent."""
    spec = build_workspace("lab", "evax")._spec
    return {each["name"]: each["panels"] for each in spec["spec"]["section"]["panelBankConfig"]["sections"]}


def test_curves_are_over_films_seen(sections):
    assert {panel["config"]["xAxis"] for panel in sections["Learning"]} == {"trainer/samples_seen"}
    assert "val/cosine" in sections["Learning"][0]["config"]["metrics"]


def test_parallel_coordinates_ask_for_flat_settings_and_for_scores(sections):
    (panel,) = sections["Ablation"]
    assert panel["viewType"] == "Parallel Coordinates Plot"
    assert [column["accessor"] for column in panel["config"]["columns"]] == [
        "config:masking.ratio.value",
        "config:data.crop.min_area.value",
        "config:tokenizer.name.value",
        "summary:val/cosine",
        "summary:test/auroc_macro",
    ]


def test_final_scores_are_bars_with_the_table_of_findings_and_the_pictures(sections):
    kinds = [panel["viewType"] for panel in sections["Scores"]]
    assert kinds == ["Bar Chart"] * 3 + ["Weave", "Media Browser"]
    assert sections["Scores"][0]["config"]["metrics"] == ["test/auroc_macro"]
    assert "test/per_class" in str(sections["Scores"][3])
    assert sections["Scores"][4]["config"]["mediaKeys"] == ["figures/views"]


def test_saving_without_a_login_is_refused_without_a_question(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(WorkspaceError, match="wandb login"):
        save_workspace("lab", "evax")


def test_a_missing_library_is_one_line_with_its_fix(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(SystemExit) as stop:
        main(["workspace", "--entity", "lab"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: a view needs wandb-workspaces: `pip install -e '.[workspace]'`\n"
