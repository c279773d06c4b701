"""What hints propose works: every choice composes and is accepted, and every key is there."""

import inspect
import re
import shlex

import pytest
from composing import CONF, composed
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from lightning.pytorch import Trainer

from evax.config import ADDABLE, RESERVED, SCHEMAS, ConfigError, check_config, check_words, explain, names_of
from evax.hints import BASES, CHOICES, FLAGS, KEYS, TAKING
from evax.runs.settings import check_run

GROUPS = {  # by command: the groups whose choices a hint may name
    "train": (
        *("adapt", "backbone", "callbacks", "data", "debug", "experiment", "logger", "masking", "model", "optim"),
        *("recipe", "then", "tokenizer", "trainer"),
    ),
    "prepare": ("data",),
    "evaluate": ("backbone", "data"),
    "explain": ("data",),
}
ALSO = {  # what a choice does not stand without
    "recipe": ("experiment=finetune_cxr14_vit_s", "protocol=official"),
    **dict.fromkeys(("adapt", "backbone"), ("experiment=finetune_cxr14_vit_s",)),
}


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def accepted(root: str, *words: str) -> list[str]:
    """The keys of a command, checked as the command does before it builds anything."""
    cfg = composed(*(("data=phantom",) if root == "prepare" else ()), *words, root=root)
    check_config(cfg, SCHEMAS[f"{root}_schema"])
    return names_of(cfg)


@pytest.mark.parametrize(("root", "group"), [(root, group) for root, groups in GROUPS.items() for group in groups])
def test_every_choice_that_may_be_proposed_is_accepted(root, group):
    for choice in choices(group):
        words = (*(ALSO.get(group, ()) if root == "train" else ()), f"{group}={choice}")
        if choice not in BASES.get(group, ()):
            accepted(root, *words)


@pytest.mark.parametrize("word", [f"{group}={choice}" for group, bases in BASES.items() for choice in bases])
def test_no_choice_is_kept_from_hints_without_a_reason(word):
    with pytest.raises(Exception, match=r"base of other files|has no value|mandatory"):
        accepted("train", *ALSO.get(word.partition("=")[0], ()), word)


def test_every_other_name_of_a_choice_leads_to_one():
    for group, known in CHOICES.items():
        for choice in known.values():
            in_group, _, name = choice.rpartition("=")
            assert name in choices(in_group or group)
            assert name not in BASES.get(in_group or group, ())


def test_every_other_name_of_a_key_leads_to_one():
    names = {name for root in GROUPS for name in accepted(root)}
    for keys in KEYS.values():
        for key in keys:
            group, is_choice, choice = key.partition("=")
            assert group in names
            if is_choice and (CONF / group).is_dir():
                assert choice in choices(group)


@pytest.mark.parametrize(
    "line",
    [
        "--fp16 true --arch vit_small --gpus all --optimizer adam --epochs 3 --bs 8",
        "--precision 16 --dataset nih --device cuda:0 --config demo_pretrain.yaml --name a,b",
        "--gpus 0,1 --amp false --model vit_b --mask_ratio .4 --wandb true --raw_dir /a(1)",
    ],
)
def test_what_is_written_again_is_accepted(line):
    words = []
    for typed in re.findall(r"--\w+ \S+", line.replace("--raw_dir", "--data_path")):
        with pytest.raises(ConfigError) as caught:
            check_words(typed.split(), CONF.parent / "train.py")
        words += shlex.split(str(caught.value).partition(": write ")[2])
    assert not any(each.is_sweep_override() for each in OverridesParser.create().parse_overrides(words))
    check_run(composed(*words))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        *(
            ("logger=false", "write ~logger"),
            ("logger=null", "write ~logger"),
            ("experiment=null", "write ~experiment"),
        ),
        ("callbacks=null", "a run needs some; write ~callbacks.NAME to leave one out, as ~callbacks.pictures"),
        ("logger=true", "is no choice; write logger=NAME (valid: none, tensorboard, wandb)"),
        ("trainer=null", "is no choice; write trainer=NAME (valid: ddp, default, slurm)"),
    ],
)
def test_a_group_without_a_choice_is_told_what_to_write(word, told, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(CONF.parent / "train.py"), "seed=0", word])
    with pytest.raises(Exception) as caught:
        composed("seed=0", word)
    assert explain(caught.value) == f"{word}: {told}"
    if instead := re.search(r"~[\w.]+$", told):
        check_run(composed(instead[0]))


def test_trainer_arguments_are_told_by_their_true_names():
    known = inspect.signature(Trainer).parameters
    assert {*RESERVED, *ADDABLE} <= set(known)
    assert not {*RESERVED, *ADDABLE} & set(composed().trainer)
    for name in ADDABLE:
        check_run(composed(f"+trainer.{name}=null"))
    for name, advice in RESERVED.items():
        told = advice.replace("nothing", "leave it out", 1) if advice.startswith("nothing") else f"use {advice}"
        with pytest.raises(ConfigError, match=f"trainer.{name} is not yours to set; {re.escape(told)}"):
            check_run(composed(f"+trainer.{name}=1"))


def test_hydras_own_options_are_all_known():
    parser = get_args_parser()
    options = {name: action.nargs == 0 for action in parser._actions for name in action.option_strings}
    assert {name for name, is_flag in options.items() if is_flag} == set(FLAGS)
    assert {name for name, is_flag in options.items() if not is_flag} == set(TAKING)


@pytest.mark.parametrize("choice", [choice for choice in choices("backbone") if not choice.startswith("eva_x")])
def test_a_backbone_without_a_mask_token_is_refused_by_its_name(choice):
    name = () if choice != "timm" else ("backbone.name=vit_tiny_patch16_224",)
    with pytest.raises(ConfigError, match=r"^backbone\.name=\w+: pre-training needs a mask token"):
        check_run(composed(f"backbone={choice}", *name))
