"""`python -m evax.checkpoints inspect|export|fetch`: what a file is, weights for others, published weights."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from evax.checkpoints.atomic import CheckpointWriteError
from evax.checkpoints.errors import WeightsError
from evax.checkpoints.fetch import FetchError, fetch, published
from evax.checkpoints.published import PUBLISHED

log = logging.getLogger("evax.checkpoints")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m evax.checkpoints", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    about = commands.add_parser("inspect", help="say what a file is, which backbone it fits and what would load")
    export = commands.add_parser(
        "export", help="write a run's or file's backbone, classifier or segmenter as safetensors and JSON"
    )
    for command in (about, export):
        command.add_argument("source", type=Path, metavar="RUN_OR_FILE", help="run directory or file in any layout")
        command.add_argument("--backbone", help="name for evax.create_backbone (default: the one that fits)")
        command.add_argument("--key", help="container in the file, where there are several")
    export.add_argument("out", type=Path, metavar="OUT.safetensors")
    get = commands.add_parser("fetch", help="download published weights; without a name, list them")
    get.add_argument("name", nargs="?", help="a name of the list")
    get.add_argument("--to", type=Path, default=Path("weights"), metavar="DIR", help="folder (weights)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake ends it with one line and status 2."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.command != "fetch":
            read_file(options)
        elif options.name is None:
            list_published()
        else:
            fetch(published(options.name), options.to)
    except (WeightsError, FetchError, CheckpointWriteError) as error:
        parser.exit(2, f"error: {error}\n")


def read_file(options: argparse.Namespace) -> None:
    """The commands that need torch, which takes seconds to import."""
    from evax.runs.weights import export_file, inspect_file

    if options.command == "inspect":
        inspect_file(options.source, options.backbone, options.key)
    else:
        export_file(options.source, options.out, options.backbone, options.key)


def list_published() -> None:
    """Log every name that `fetch` takes."""
    width = max(len(entry.name) for entry in PUBLISHED)
    for entry in PUBLISHED:
        by_hand = "" if entry.url else "; by hand, `fetch` says how"
        log.info("%-*s  %s; licence: %s%s", width, entry.name, entry.what, entry.licence, by_hand)


if __name__ == "__main__":
    main()
