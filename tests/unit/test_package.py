import subprocess
import sys

import pytest

import evax


def test_import_evax_loads_neither_torch_nor_timm():
    code = "import sys, evax; print(evax.__version__, [m for m in ('torch', 'timm', 'lightning') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == f"{evax.__version__} []\n"


@pytest.mark.parametrize("name", sorted(set(evax.__all__) - {"__version__"}))
def test_public_names_can_be_imported(name):
    assert getattr(evax, name).__name__ == name


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'Backbone'.*create_backbone"):
        _ = evax.Backbone
