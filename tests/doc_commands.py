"""The commands of README and docs, as a reader would type them."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
PAGES = sorted(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md"))
FILES = ("README.md", "CONTRIBUTING.md", "notebooks/README.md", *PAGES)
INLINE = re.compile(r"`(python \w+\.py [^`\n]*)`")
PLACEHOLDER = re.compile(r"…|\.\.\.|KEY=")  # of what is no whole command
FENCE = re.compile(r"^ *```(?P<language>\w*) *\n(?P<body>.*?)^ *``` *$", re.MULTILINE | re.DOTALL)
SHELL = ("sh", "bash", "shell", "console")


class Command(NamedTuple):
    """One command: the file that it stands in, and its words without comments."""

    file: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


def commands() -> list[Command]:
    """Every command of every block of shell commands, in the order of the files."""
    return [Command(file, words) for file in FILES for words in commands_in((REPOSITORY / file).read_text())]


def commands_in(text: str) -> list[tuple[str, ...]]:
    """The commands of a text's shell blocks; lines that end in a backslash go on, && begins another command."""
    blocks = [block["body"].replace("\\\n", " ") for block in FENCE.finditer(text) if block["language"] in SHELL]
    lines = [without_comment(line) for block in blocks for line in block.splitlines()]
    parts = [tuple(shlex.split(part)) for line in lines for part in re.split(r"\s&&\s", line)]
    return [words for words in parts if words]


def inline_commands() -> list[Command]:
    """Every whole command in the running text of the pages but the results, which quote what was once typed."""
    pages = [file for file in FILES if file != "docs/results.md"]
    found = [(file, text) for file in pages for text in INLINE.findall((REPOSITORY / file).read_text())]
    return [Command(file, tuple(shlex.split(text))) for file, text in found if not PLACEHOLDER.search(text)]


def without_comment(line: str) -> str:
    """A line up to the # that begins a comment: one after a blank, outside quotes."""
    quote = ""
    for place, letter in enumerate(line):
        if letter in "'\"":
            quote = "" if quote == letter else quote or letter
        elif letter == "#" and not quote and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line
