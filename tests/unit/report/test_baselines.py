"""The rivals side by side: published numbers, our runs, and the figure."""

import json

import pytest
from PIL import Image
from result_content import content

from evax.report.__main__ import main
from evax.report.baselines import BaselinesError, Size, read_baselines, read_runs
from evax.report.efficiency import write_baselines

SIZES = {row.backbone: Size(22_000_000, (2 + len(row.architecture)) * 10**9) for row in read_baselines()}


def run(folder, backbone, macro=0.8, **changes):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"backbone: {json.dumps(backbone)}\n")
    (folder / "results.json").write_text(json.dumps(content("finetune", macro, **changes)))
    return folder


MGCA, EVA_X = {"name": "resnet50", "published": "resnet50_mgca"}, {"name": "eva_x_small"}


def test_the_table_has_the_numbers_of_the_paper():
    published = {row.backbone: row.mauc for row in read_baselines()}
    assert (published["eva_x_tiny"], published["eva_x_small"], published["eva_x_base"]) == (82.4, 83.3, 83.5)
    assert (published["vit_small_medical_mae"], published["vit_base_medical_mae"]) == (82.3, 83.0)
    assert sum(value is not None for value in published.values()) == 18


def test_runs_are_known_by_their_weights_and_seeds_are_averaged(tmp_path):
    run(tmp_path / "sweep" / "0", MGCA, 0.8)
    run(tmp_path / "sweep" / "1", MGCA, 0.82)
    single = run(tmp_path / "alone", EVA_X, 0.7)
    ours, setting = read_runs([tmp_path / "sweep", single])
    assert (ours["resnet50_mgca"].value, ours["resnet50_mgca"].num_runs) == (pytest.approx(81), 2)
    assert str(ours["resnet50_mgca"]) == "81.0 (2 runs)"
    assert str(ours["eva_x_small"]) == "70.0 [65.0, 75.0]"
    assert setting == "nih_cxr14_sample, protocol clean, 2,140 test films, 2 findings"


@pytest.mark.parametrize("change", [{"protocol": "official", "recipe": "code"}, {"test_ids_digest": "e" * 64}])
def test_runs_that_do_not_compare_are_refused(change, tmp_path):
    folders = [run(tmp_path / "a", MGCA), run(tmp_path / "b", EVA_X, **change)]
    with pytest.raises(BaselinesError, match="scored on other films, findings, protocol or recipe"):
        read_runs(folders)


def test_a_backbone_of_another_kind_is_named(tmp_path):
    with pytest.raises(BaselinesError, match="its backbone resnet18 is none of the table"):
        read_runs([run(tmp_path / "a", {"name": "resnet18"})])


def test_the_table_has_cost_speed_and_both_scores(tmp_path):
    ours, setting = read_runs([run(tmp_path / "a", MGCA, 0.8)])
    sizes = SIZES | {name: SIZES[name]._replace(films_per_second=5.0) for name in ("resnet50_mgca", "eva_x_small")}
    sizes["eva_x_small"] = sizes["eva_x_small"]._replace(films_per_second=10.0)
    text = write_baselines(tmp_path / "out", sizes, ours, setting)
    row = next(line for line in text.splitlines() if "`resnet50_mgca`" in line)
    assert [cell.strip() for cell in row.split("|")[4:-1]] == ["22.0", "11.00", "0.50", "81.3", "80.0 [75.0, 85.0]"]
    assert (tmp_path / "out" / "baselines.md").read_text() == text
    assert f"Ours: {setting}. Paper: ChestX-ray14, official test list" in text.splitlines()[-1]


def test_without_runs_and_speeds_there_are_no_such_columns(tmp_path):
    header = write_baselines(tmp_path, SIZES, {}, "").splitlines()[0]
    assert "ours" not in header
    assert "speed" not in header


def test_the_figure_is_the_same_twice_and_shows_our_runs(tmp_path):
    ours, setting = read_runs([run(tmp_path / "a", MGCA, 0.8)])
    for folder, scores in (("with", ours), ("again", ours), ("without", {})):
        write_baselines(tmp_path / folder, SIZES, scores, setting)
    pictures = [(tmp_path / folder / "baselines.png").read_bytes() for folder in ("with", "again", "without")]
    assert pictures[0] == pictures[1] != pictures[2]
    with Image.open(tmp_path / "with" / "baselines.png") as image:
        assert len(image.convert("L").getcolors()) > 20


def test_a_folder_without_results_ends_the_command_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["baselines", str(tmp_path)])
    assert stop.value.code == 2
    assert "holds no results.json; give fine-tuned runs" in capsys.readouterr().err
