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
        (0, ["x", "y"], "(valid: x, y)"),
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


OTHERS = (
    *(*EVERYWHERE, "trainer.precision", "trainer.accelerator", "optim.warmup_epochs", "per_device_batch", "resume"),
    *("backbone", "model", "tokenizer", "experiment", "name", "weights"),
)
CHOSEN = {
    "backbone": ("eva_x", "eva_x_small", "timm"),
    "model": ("mim",),
    "data": ("cxr14", "masked"),
    "tokenizer": ("hog", "mgca_vit_b"),
    "experiment": ("demo_pretrain",),
    "logger": ("none", "wandb"),
    "optim": ("eva_x", "sgd"),
}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        *(
            ("--precision 16", "write trainer.precision=bf16-mixed"),
            ("--fp16 true", "write trainer.precision=bf16-mixed"),
        ),
        *(("--amp false", "write trainer.precision=32-true"), ("fp16 = true", "write trainer.precision=bf16-mixed")),
        *(("--bf16", "write trainer.precision=bf16-mixed"), ("--precision 64", "write trainer.precision=64")),
        *(("--arch vit_small", "write backbone=eva_x_small"), ("arch vit_small", "write backbone=eva_x_small")),
        *(("--model vit_s", "write backbone=eva_x_small"), ("--arch eva_x", "write backbone=NAME; ")),
        *(
            ("--dataset nih", "write data=cxr14"),
            ("--dataset= nih", "write data=VALUE"),
            ("dataset= nih", "write data=cxr14"),
        ),
        *(("--dataset /x", "write raw_dir=/x"), ("--dataset padchest", "write data=NAME; (valid: cxr14)")),
        *(("--optimizer adam", "write optim=eva_x"), ("--optimizer lion", "write optim=NAME; (valid: eva_x, sgd)")),
        *(
            ("--teacher mgca", "write tokenizer=mgca_vit_b"),
            ("--logger csv", "write logger=NAME; (valid: none, wandb)"),
        ),
        *(
            ("--config cfg.yaml", "write experiment=NAME; "),
            ("--config c/demo_pretrain.yml", "write experiment=demo_pretrain"),
        ),
        *(("--gpus 0,1", "write trainer.devices=[0,1]"), ("--gpus [0,1]", "write trainer.devices=[0,1]")),
        *(("--gpus all", "write trainer.devices=auto"), ("--gpus -1", "write trainer.devices=auto")),
        *(("--gpus 2", "write trainer.devices=2"), ("--gpu 1", "write trainer.devices=[1]")),
        *(("--gpus 0", "write trainer.devices=[0]"), ("--ngpu 0", "write trainer.accelerator=cpu")),
        *(("--device cuda", "write trainer.accelerator=gpu"), ("--device cpu", "write trainer.accelerator=cpu")),
        *(
            ("--device cuda:1", "write trainer.accelerator=gpu trainer.devices=[1]"),
            ("--cpu", "write trainer.accelerator=cpu"),
        ),
        *(("--cuda false", "write trainer.accelerator=cpu"), ("--mask_ratio 0.75", "write masking.ratio=0.75")),
        *(
            ("--mask_ratio 75%", "write masking.ratio=N, between 0 and 1"),
            ("--mask 75", "write masking.ratio=N, between 0 and 1"),
        ),
        *(
            ("--max_steps 9", "write trainer.max_epochs=N, in epochs"),
            ("max_steps = 9", "write trainer.max_epochs=N, in epochs"),
        ),
        ("--trainer.max_steps 9", "write trainer.max_epochs=N, in epochs"),
        *(("--epochs 9", "write trainer.max_epochs=9"), ("--epochs ten", "write trainer.max_epochs=N, in epochs")),
        *(("--warmup_steps 500", "write optim.warmup_epochs=N, in epochs"), ("--blr 1e-4", "write optim.lr=N, ")),
        ("--accumulate_grad_batches 4", "write per_device_batch=N, the images on a device at once"),
        *(
            ("--wandb false", "leave it out"),
            ("--wandb true", "write logger=wandb"),
            ("--weights none", "leave it out"),
        ),
        *(("--resume true", "write resume=RUN_DIR"), ("--img_size 224,224", "write image_size=N, the side in pixels")),
        *(
            ("--methods a,b", "write methods=[a,b]"),
            ("--name a,b", "write 'name=\"a,b\"'"),
            ("--bs 64k", "write batch_size=N"),
        ),
        *(("--raw_dir /a(1)", "write 'raw_dir=\"/a(1)\"'"), ("--raw_dir /a,b", "write 'raw_dir=\"/a,b\"'")),
    ],
)
def test_a_value_of_another_tool_is_written_as_it_is_here_or_asked_for(line, told):
    assert misread(line.split(), OTHERS, CHOSEN).partition(": ")[2].startswith(told)


@pytest.mark.parametrize(
    ("name", "told"), [("max_steps", "trainer.max_epochs', in epochs,"), ("epochs", "trainer.max_epochs'")]
)
def test_a_key_that_counts_something_else_says_what(name, told):
    assert nearest_key(name, [], EVERYWHERE) == f"did you mean '{told}?"


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
