import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def differences():
    """Packed, sub-LN, drawn drop paths, and between two draws."""
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    script = [sys.executable, str(TESTS / "compiled.py")]
    printed = subprocess.run(script, env=environment, capture_output=True, text=True, check=True).stdout
    return [float(number) for number in printed.split()]


@pytest.mark.parametrize("number", [0, 1])
def test_the_compiled_graph_gives_the_same_masked_tokens(differences, number):
    assert differences[number] < 1e-5


def test_a_compiled_backbone_follows_every_draw_of_drop_path(differences):
    assert differences[2] < 1e-5
    assert differences[3] > 1e-3
