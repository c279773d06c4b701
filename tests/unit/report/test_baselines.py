"""The rivals side by side: published numbers, our runs, and the figure."""

import json

import pytest
from PIL import Image
from result_content import content

from evax.report.__main__ import main
from evax.report.baselines import BaselinesError, Size, read_baselines, read_runs
from evax.report.efficiency import write_baselines

SIZES = {row.backbone: Size(22_000_000, (2 + len(row.architecture)) * 10**9) for row in read_baselines()}


def run(folder, backbone, macro=0.8, settings=None, **changes):
    folder.mkdir(parents=True)
    config = {"weights": "weights", "backbone": backbone} | (settings or {})
    (folder / "config.yaml").write_text(json.dumps(config))
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


def test_seeds_names_and_places_are_no_difference(tmp_path):
    run(tmp_path / "0", MGCA, settings={"seed": 0, "name": "a", "data": {"pack": "p", "seed": 0, "fraction_seed": 0}})
    run(tmp_path / "1", MGCA, settings={"seed": 1, "name": "b", "data": {"pack": "q", "seed": 1, "fraction_seed": 1}})
    assert read_runs([tmp_path])[0]["resnet50_mgca"].num_runs == 2


@pytest.mark.parametrize("backbone", [MGCA, EVA_X])
@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"data": {"fraction": 0.1}}, "data.fraction"),
        ({"model": {"freeze": True}}, "model.freeze"),
        ({"weights": "others"}, "weights"),
        ({"recipe": "paper"}, "recipe"),
    ],
)
def test_runs_of_one_backbone_that_are_no_seeds_are_refused(settings, key, backbone, tmp_path):
    folders = [run(tmp_path / "a", backbone), run(tmp_path / "b", backbone, settings=settings)]
    with pytest.raises(BaselinesError, match=rf"/b: its {key} is not that of .*/a; runs of one backbone are seeds"):
        read_runs(folders)


def test_a_run_from_random_numbers_is_no_row(tmp_path):
    with pytest.raises(BaselinesError, match="a: began from random numbers, which is no row of the table"):
        read_runs([run(tmp_path / "a", EVA_X, settings={"weights": None})])


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
