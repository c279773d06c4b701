"""What never enters the repository: `python tools/check_files.py FILE ...` names it and exits with 1."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

LARGEST = 500_000  # bytes
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
CONFLICT = re.compile(rb"^(<{7} |={7}\r?$|>{7} )", re.MULTILINE)
RULED = (".md", ".rst", ".txt")  # text in which a line of ======= may underline a title


def faults(path: Path) -> Iterator[str]:
    """What is wrong with a file."""
    content = path.read_bytes()
    if len(content) > LARGEST:
        yield f"has {len(content):,} bytes, more than {LARGEST:,}"
    if PRIVATE_KEY.search(content):
        yield "holds a private key"
    marks = {mark.group()[:1] for mark in CONFLICT.finditer(content)}
    if {b"<", b">"} & marks or (b"=" in marks and path.suffix not in RULED):
        yield "has the marks of a merge conflict"
    if path.suffix == ".ipynb" and (number := count_executed(content)):
        yield f"has {number} cells with outputs or counts; clear them all before saving"


def count_executed(content: bytes) -> int:
    """Cells of a notebook that remember being run."""
    cells = json.loads(content)["cells"]
    return sum(bool(cell.get("outputs") or cell.get("execution_count")) for cell in cells)


def main() -> None:
    """Name every fault of the files on the command line."""
    found = [f"{name}: {fault}" for name in sys.argv[1:] if Path(name).is_file() for fault in faults(Path(name))]
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main()
