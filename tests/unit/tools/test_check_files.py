"""The guard of commits: keys, conflicts, sizes and notebook outputs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "check_files.py"


def check(path: Path, content: bytes) -> subprocess.CompletedProcess[str]:
    path.write_bytes(content)
    return subprocess.run([sys.executable, TOOL, str(path)], capture_output=True, text=True)


def notebook(**cell: object) -> bytes:
    return json.dumps({"cells": [{"cell_type": "code", "source": "1"} | cell]}).encode()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("large.png", b"0" * 500_001, "has 500,001 bytes"),
        ("key.pem", b"-----BEGIN RSA " + b"PRIVATE KEY-----\n", "holds a private key"),
        ("code.py", b"a = 1\n<<<<<<" + b"< HEAD\n", "merge conflict"),
        ("code.py", b"a = 1\n======" + b"=\n", "merge conflict"),
        ("story.ipynb", notebook(outputs=[{"text": "1"}]), "1 cells with outputs"),
        ("story.ipynb", notebook(outputs=[], execution_count=3), "1 cells with outputs"),
    ],
)
def test_faults_are_named(name, content, fault, tmp_path):
    outcome = check(tmp_path / name, content)
    assert outcome.returncode == 1
    assert f"{name}: " in outcome.stderr
    assert fault in outcome.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("code.py", b"a = 1\n"), ("title.md", b"Title\n======" + b"=\n"), ("story.ipynb", notebook(outputs=[]))],
)
def test_sound_files_pass(name, content, tmp_path):
    assert check(tmp_path / name, content).returncode == 0
