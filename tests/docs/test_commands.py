"""Every command of README and docs is one that can be typed: no misspelt key, option, choice or target."""

import os
import re
import subprocess
from importlib import import_module

import pytest
from composing import composed
from doc_commands import REPOSITORY, Command, commands, commands_in, inline_commands
from hydra.core.override_parser.overrides_parser import OverridesParser

from evax.config import SCHEMAS, check_config
from evax.predict.__main__ import as_options
from evax.runs.settings import check_run

COMMANDS = {str(command): command for command in (*commands(), *inline_commands())}
SCRIPTS = tuple(f"{name}.py" for name in ("prepare", "train", "evaluate", "explain"))
OTHERS = {  # that are not evax's; what they are for
    "wandb sync": "uploads to W&B",
    "wandb login": "asks for an account of W&B",
    "tensorboard --logdir": "opens a page",
    "pip install": "installs an extra, all of which `make install` has",
    ". .venv": "enters the virtual environment",
    "module load": "is of a cluster",
    "export SUBMITIT_EXECUTOR": "is of a cluster",
    "srun": "is of a cluster",
}


def kind(command: Command) -> str:
    """Which check a command gets."""
    first, second = command.words[0], command.words[1] if len(command.words) > 1 else ""
    if first == "python":
        return "module" if second == "-m" else "script"
    return "make" if first == "make" else "other"


def of(*kinds: str) -> list[str]:
    return [text for text, command in COMMANDS.items() if kind(command) in kinds]


def one_job(words: list[str]) -> list[str]:
    """The words of the first job of a multirun."""
    first = []
    for word in words:
        override = OverridesParser.create().parse_override(word)
        value = next(iter(override.sweep_string_iterator())) if override.is_sweep_override() else None
        first.append(word if value is None else f"{word.partition('=')[0]}={value}")
    return first


@pytest.mark.parametrize("text", of("script"))
def test_a_command_line_composes_and_is_accepted(text):
    _, script, *words = COMMANDS[text].words
    assert script in SCRIPTS
    assert (REPOSITORY / script).is_file()
    if "-m" in words:
        words = one_job([word for word in words if word != "-m"])
    cfg = composed(*words, root=script.removesuffix(".py"))
    if script == "train.py" and cfg.resume is None:
        check_run(cfg)
    else:
        check_config(cfg, SCHEMAS[f"{script.removesuffix('.py')}_schema"])


@pytest.mark.parametrize("text", of("module"))
def test_a_module_takes_its_words(text):
    _, _, module, *words = COMMANDS[text].words
    assert module.startswith("evax.")
    import_module(f"{module}.__main__").build_parser().parse_args(as_options(words))


@pytest.mark.parametrize("text", of("make"))
def test_a_target_of_make_exists(text):
    targets = [word for word in COMMANDS[text].words[1:] if "=" not in word]
    done = subprocess.run(("make", "-n", *targets), cwd=REPOSITORY, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", of("other"))
def test_a_command_of_another_program_is_known(text):
    assert any(text.startswith(known) for known in OTHERS), f"{text}: give OTHERS what it is for"


def test_commands_are_found_in_blocks_of_shell_alone():
    text = "```sh\na b='c d' # no\npython x.py \\\n    'y=[1,2]' && z \"#1\"\n```\n"
    text += "```python\nq\n```\n  ```bash\n  w\n  ```\n"
    assert commands_in(text) == [("a", "b=c d"), ("python", "x.py", "y=[1,2]"), ("z", "#1"), ("w",)]
    assert len(COMMANDS) > 40


def test_links_between_the_pages_lead_somewhere():
    for page in sorted({command.file for command in COMMANDS.values()}):
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (REPOSITORY / page).read_text()):
            assert (REPOSITORY / page).parent.joinpath(link).exists(), f"{page} links {link}"
