"""Importing evax asks nobody anything."""

import os
import subprocess
import sys
from pathlib import Path

import evax

FOLDER = Path(evax.__file__).parent
MODULES = sorted(
    ".".join(("evax", *path.relative_to(FOLDER).with_suffix("").parts)).removesuffix(".__init__")
    for path in FOLDER.rglob("*.py")
    if path.stem != "__main__"
)

IMPORT_ALL = """
import importlib, os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        print("asked for the network:", event, arguments)
        raise OSError("there is no network")

sys.addaudithook(refuse)
for name in sys.argv[1:]:
    importlib.import_module(name)
print("NO_ALBUMENTATIONS_UPDATE is", os.environ["NO_ALBUMENTATIONS_UPDATE"])
"""


def test_every_module_is_imported_without_network():
    clean = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *MODULES], env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "NO_ALBUMENTATIONS_UPDATE is 1\n"
