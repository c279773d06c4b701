"""A process of its own that runs command lines one after another, and tells of each what it printed and imported."""

import contextlib
import io
import json
import runpy
import shlex
import sys
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

HEAVY = ("torch", "timm", "lightning", "albumentations", "sklearn", "matplotlib")


def outcome(words: list[str]) -> dict[str, object]:
    """Exit code, both streams together, heavy modules so far, and what lies in the present folder afterwards."""
    text, code = io.StringIO(), None
    sys.argv = words
    with contextlib.redirect_stderr(text), contextlib.redirect_stdout(text):
        try:
            if words[0] == "-m":
                sys.argv = words[1:]
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
        except SystemExit as stop:
            code = stop.code
    GlobalHydra.instance().clear()
    left = sorted(str(path) for path in Path().rglob("*"))
    return {
        "code": code,
        "text": text.getvalue(),
        "heavy": [each for each in HEAVY if each in sys.modules],
        "left": left,
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(outcome(shlex.split(line))), flush=True)  # noqa: T201
