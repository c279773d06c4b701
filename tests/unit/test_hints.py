"""Hints for misspelt names."""

import ast
from pathlib import Path

import pytest

import evax
from evax.hints import CATALOGUE, misread, nearest, nearest_choice, nearest_key

LONG = [f"number_{number}" for number in range(25)]
HUGE = [f"model_{number:03}" for number in range(CATALOGUE + 1)]


@pytest.mark.parametrize(
    ("name", "valid", "hint"),
    [
        ("rato", ["ratio", "topup"], "did you mean 'ratio'? (valid: ratio, topup)"),
        ("xyz", ["ratio"], "(valid: ratio)"),
        ("xyz", [], "(valid: none)"),
        ("rato", ["ratio", "_target_"], "did you mean 'ratio'? (valid: ratio)"),
        ("numbr_7", LONG, "did you mean 'number_7'?"),
        ("xyz", LONG, f"(valid: {', '.join(sorted(LONG))})"),
    ],
)
def test_the_hint_is_as_long_as_it_must_be(name, valid, hint):
    assert nearest(name, valid) == hint


def test_a_catalogue_is_never_listed():
    assert nearest("xyz", HUGE).count("model_") == 3


EVERYWHERE = (
    *("experiment", "seed", "weights", "raw_dir", "batch_size", "image_size", "data", "data.split", "data.num_workers"),
    *("data.weights", "optim", "optim.lr", "trainer", "trainer.max_epochs", "trainer.devices", "masking.ratio"),
    *("data.image_size", "logger", "methods"),
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("lr", "optim.lr"), ("learning_rate", "optim.lr"), ("learning-rate", "optim.lr"), ("LR", "optim.lr")),
        *(("epochs", "trainer.max_epochs"), ("max_epochs", "trainer.max_epochs"), ("gpus", "trainer.devices")),
        *(("mask_ratio", "masking.ratio"), ("ratio", "masking.ratio"), ("mask_rato", "masking.ratio")),
        *(("bs", "batch_size"), ("workers", "data.num_workers"), ("split", "data.split"), ("img_size", "image_size")),
        *(("weights", "weights"), ("image_size", "image_size"), ("wandb", "logger=wandb")),
    ],
)
def test_a_key_is_found_by_its_last_name_and_by_that_of_other_tools(name, meant):
    assert nearest_key(name, ["betas", "eps"], EVERYWHERE) == f"did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["lora", "ema", "nonsense", "dry_run"])
def test_what_a_command_does_not_have_is_no_hint(name):
    assert nearest_key(name, ["betas", "eps"], EVERYWHERE) == "(valid: betas, eps)"


def test_a_key_beside_is_nearer_than_one_elsewhere():
    assert nearest_key("rato", ["ratio", "topup"], EVERYWHERE) == "did you mean 'ratio'? (valid: ratio, topup)"


@pytest.mark.parametrize(
    ("group", "name", "hint"),
    [
        ("backbone", "eva_x_s", "did you mean 'eva_x_small'?"),
        ("backbone", "ViT_S", "did you mean 'eva_x_small'?"),
        ("backbone", "eva_x_smal", "did you mean 'eva_x_small'? (valid: eva_x_base, eva_x_small)"),
        ("backbone", "eva_", "(valid: eva_x_base, eva_x_small)"),
        ("model", "vit_b", "did you mean 'backbone=eva_x_base'?"),
        ("data", "nih", "did you mean 'cxr14'?"),
    ],
)
def test_a_choice_is_found_by_other_names_and_is_never_a_base(group, name, hint):
    options = {"backbone": ["eva_x", "eva_x_base", "eva_x_small"], "data": ["cxr14", "masked"]}
    assert nearest_choice(group, name, options.get(group, [])) == hint


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--experiment demo", "--experiment demo: write experiment=demo"),
        ("--experiment=demo", "--experiment=demo: write experiment=demo"),
        ("-experiment demo", "-experiment demo: write experiment=demo"),
        ("--experiment", "--experiment: write experiment=VALUE"),
        ("--experiment seed=1", "--experiment: write experiment=VALUE"),
        ("-m seed=0,1 --experiment demo", "--experiment demo: write experiment=demo"),
        ("--lr 1e-3", "--lr 1e-3: write optim.lr=1e-3"),
        ("--lr -1", "--lr -1: write optim.lr=-1"),
        ("--optim.lr 3", "--optim.lr 3: write optim.lr=3"),
        ("--mask-ratio=0.4", "--mask-ratio=0.4: write masking.ratio=0.4"),
        ("--wandb", "--wandb: write logger=wandb"),
        ("--raw_dir /x", "--raw_dir /x: write raw_dir=/x"),
        ("seed=1 /x/y", "/x/y: write raw_dir=/x/y"),
        ("--multi", "--multi: no such option (did you mean --multirun?); settings are"),
        ("--foo 3", "--foo 3: no such option; settings are written KEY=VALUE without dashes"),
        ("experiment demo", "experiment demo: write experiment=demo"),
        ("lr 3", "lr 3: write optim.lr=3"),
        ("experiment = demo", "experiment = demo: write experiment=demo"),
        ("experiment =demo seed=1", "experiment =demo: write experiment=demo"),
        ("experiment= demo", "experiment= demo: write experiment=demo"),
        ("methods=[a, b] seed=1", "methods=[a, …: has blanks; write 'methods=[a,b]'"),
    ],
)
def test_words_that_hydra_would_misread_are_written_again(line, told):
    assert misread(line.split(), EVERYWHERE).startswith(told)


@pytest.mark.parametrize("word", ["experiment = demo", "experiment =demo", "experiment= demo"])
def test_blanks_inside_quotes_are_taken_out(word):
    assert misread([word], EVERYWHERE) == f"{word}: write experiment=demo"
    assert misread(["name=a b", "notes=['x = y']"], EVERYWHERE) is None


@pytest.mark.parametrize(
    "line",
    [
        *("", "experiment=demo", "-m seed=0,1", "--multirun seed=0,1", "--cfg job", "-c job --package optim", "--help"),
        *("--config-dir my/conf experiment=mine", "--config-dir=my/conf", "--info", "--info defaults-tree", "~optim"),
        *("+trainer.profiler=simple", "seed", "methods=[a,b]", "point=[0.3,0.6]", "name=", "name= seed=1", "--resolve"),
        *("--experimental-rerun job.pickle", "data.pack=/x/y", "--run seed=1", "a=b c=d"),
    ],
)
def test_words_that_hydra_can_read_are_left_alone(line):
    assert misread(line.split(), EVERYWHERE) is None


def test_no_other_module_makes_its_own():
    folder = Path(evax.__file__).parent
    users = [path.name for path in folder.rglob("*.py") if "difflib" in names(ast.parse(path.read_text()))]
    assert users == ["hints.py"]


def names(tree: ast.AST) -> set[str]:
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
