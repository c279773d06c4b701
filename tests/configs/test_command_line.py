"""What a user reads in the terminal: help at once, and one line for a mistake."""

import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from composing import REPOSITORY, composed
from hydra.core.global_hydra import GlobalHydra

from evax.callbacks.metrics_csv import METRICS
from evax.checkpoints.weight_files import CONFIG
from evax.config import RUN_DIR_VARIABLE, save_config

HINT = "(EVAX_TRACEBACK=1 shows where)"


class Outcome(NamedTuple):
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


def python(*arguments: str, folder: Path) -> Outcome:
    """A program of its own, which leaves its output folders in `folder`."""
    environment = os.environ | {"EVAX_RUNS": str(folder), "EVAX_PACKS": str(folder)}
    environment.pop(RUN_DIR_VARIABLE, None)
    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    """Runs an entry point in this process, which has torch already."""
    monkeypatch.setenv("EVAX_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("EVAX_PACKS", str(tmp_path / "packs"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv(RUN_DIR_VARIABLE, "")
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])
    level = logging.root.level

    def run(script: str, *arguments: str) -> Outcome:
        monkeypatch.delenv(RUN_DIR_VARIABLE, raising=False)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(REPOSITORY / script), run_name="__main__")
        return Outcome(stop.value.code, *capsys.readouterr())

    yield run
    logging.root.setLevel(level)
    GlobalHydra.instance().clear()


def message(outcome: Outcome) -> str:
    """The one line of an outcome that is a clear error."""
    lines = outcome.stderr.splitlines()
    assert (outcome.code, len(lines)) == (1, 2), outcome
    assert all(line.endswith("loading PyTorch …") for line in outcome.stdout.splitlines()), outcome
    assert lines[1] == HINT
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


LIST_HEAVY = """
import atexit, runpy, sys
heavy = ("torch", "timm", "lightning", "albumentations", "pandas")
atexit.register(lambda: print("imported:", [name for name in heavy if name in sys.modules]))
sys.argv = [sys.argv[1], "--help"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("script", "group"),
    [
        ("train.py", "backbone: densenet121_imagenet, densenet121_medical_mae"),
        ("prepare.py", "data: chexpert, covid_masks, covidx3, covidx4, cxr14, folder"),
        ("explain.py", "what each key does.\n\nrun: null"),
    ],
)
def test_help_lists_the_choices_and_imports_nothing_heavy(script, group, tmp_path):
    outcome = python("-c", LIST_HEAVY, script, folder=tmp_path)
    assert outcome.code == 0, outcome.stderr
    assert group in outcome.stdout
    assert outcome.stdout.endswith("imported: []\n")


def test_a_program_of_its_own_ends_with_one_line_and_exit_code_1(tmp_path):
    outcome = python("train.py", "masking.rato=0.4", folder=tmp_path)
    assert message(outcome) == "masking.rato: no such key; did you mean 'ratio'? (valid: ratio)"
    assert not list(tmp_path.iterdir())


def test_misspelt_choice(here):
    assert message(here("train.py", "backbone=eva_x_smal")).startswith(
        "backbone=eva_x_smal: no such choice; did you mean 'eva_x_small'?"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train.py --experiment sample_pretrain", "--experiment sample_pretrain: write experiment=sample_pretrain"),
        ("train.py experiment=demo_pretrain --max-epochs 3", "--max-epochs 3: write trainer.max_epochs=3"),
        ("train.py experiment=sample_finetune --mask_ratio 3", "--mask_ratio 3: no such option"),
        ("prepare.py --data cxr14 --raw-dir /x", "--data cxr14: write data=cxr14"),
        ("evaluate.py --run runs/x", "--run runs/x: write run=runs/x"),
        ("train.py epochs=2", "epochs: no such key; did you mean 'trainer.max_epochs'?"),
        ("train.py +lr=1e-3", "lr: no such key; did you mean 'optim.lr'?"),
        ("train.py trainer.log_every_n_steps=5", "trainer.log_every_n_steps is not yours to set; leave it out"),
        ("train.py trainer.profiler=simple", "trainer.profiler: is not set in conf/trainer; write +trainer.profiler="),
        ("train.py backbone=eva_x_s", "backbone=eva_x_s: no such choice; did you mean 'eva_x_small'?"),
        ("train.py data=/x/y", "data=/x/y: data= names a data set; give the folder of a download by raw_dir=/x/y"),
        ("train.py model=vit_s", "model=vit_s: no such choice; did you mean 'backbone=eva_x_small'?"),
        ("train.py seed=0,1", "seed=0,1: commas make a sweep, which needs -m; a list is written [A,B]"),
        ("evaluate.py lr=3", "lr: no such key; (valid: against, backbone"),
    ],
)
def test_what_is_typed_to_other_tools_is_written_again(here, words, told):
    assert message(here(*words.split())).startswith(told)


@pytest.mark.parametrize("word", ["seed", "name=a=b"])
def test_word_that_is_no_override(here, word):
    assert message(here("train.py", word)).startswith(f"{word}: cannot be read; write KEY=VALUE")


def test_missing_pack_names_the_command_that_makes_it(here):
    assert "`python prepare.py data=phantom" in message(here("train.py"))


def test_run_that_could_not_start_leaves_nothing_for_ranks_to_join(here):
    message(here("train.py"))
    assert RUN_DIR_VARIABLE not in os.environ


def test_value_out_of_range_names_the_key(here):
    text = message(here("train.py", "masking.ratio=1.5"))
    assert "masking.ratio" in text
    assert "1.5" in text


def test_value_of_a_wrong_type_names_the_key(here):
    assert "masking" in message(here("train.py", "masking.ratio=much"))


def test_batch_that_does_not_divide_names_both_numbers(here, tiny_pack):
    text = message(here("train.py", f"data.pack={tiny_pack}", "batch_size=7", "per_device_batch=2", "image_size=64"))
    assert "batch_size=7" in text
    assert "per_device_batch=2" in text


def test_resume_of_nothing_names_the_folder(here):
    assert message(here("train.py", "resume=/nonexistent")).startswith("resume=/nonexistent: ")


@pytest.mark.parametrize("override", ["masking.ratio=0.2", "backbone=eva_x_tiny", "++data.fraction=0.5", "~optim"])
def test_resume_with_another_setting_names_what_may_change(here, tmp_path, override):
    save_config(composed(), tmp_path / CONFIG)
    text = message(here("train.py", f"resume={tmp_path}", override))
    key = override.lstrip("+~").partition("=")[0]
    assert text.startswith(f"{key}: a resumed run keeps its saved configuration; only trainer, cluster, logger, paths")


def test_new_run_in_a_used_folder_names_resume(here, tiny_pack, tmp_path):
    (tmp_path / METRICS).touch()
    words = (f"hydra.run.dir={tmp_path}", f"data.pack={tiny_pack}", "batch_size=4", "image_size=64")
    assert f"resume={tmp_path}" in message(here("train.py", *words))


def test_prepare_without_data_lists_the_choices(here):
    text = message(here("prepare.py"))
    assert "data=" in text
    assert "cxr14" in text
    assert "phantom" in text
    assert "masked" not in text


def test_prepare_without_raw_dir_names_it(here):
    assert message(here("prepare.py", "data=cxr14")).startswith("raw_dir: ")


def test_an_ablation_asks_for_a_multirun(here):
    assert "say so by -m" in message(here("train.py", "sweep=mask_ratio"))


@pytest.mark.parametrize("script", ["prepare.py", "train.py"])
def test_union_of_missing_packs_names_the_commands_that_make_them(here, script):
    text = message(here(script, "data=merged520k"))
    assert all(f"`python prepare.py data={name}`" in text for name in ("cxr14", "chexpert", "mimic"))


def test_prepare_of_a_folder_that_is_not_there_names_it(here):
    assert "/nonexistent" in message(here("prepare.py", "data=cxr14", "raw_dir=/nonexistent"))
