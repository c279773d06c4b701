"""`python -m evax.data verify PACK ...`: read every file of packs and compare it with the manifest."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from evax.data.manifest import PackError
from evax.data.verification import verify

log = logging.getLogger("evax.data")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m evax.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("verify", help="one line a fault; the exit code is 1 if there is one, 2 if no pack")
    check.add_argument("packs", nargs="+", type=Path, metavar="PACK", help="folder that prepare.py wrote")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Verify the packs in turn; ends with the highest of their codes."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    raise SystemExit(max(_verify(pack) for pack in options.packs))


def _verify(folder: Path) -> int:
    try:
        manifest, faults = verify(folder)
    except PackError as error:
        log.error("%s", error)
        return 2
    for fault in faults:
        log.error("%s: %s", folder, fault)
    if not faults:
        films, files = manifest.counts["films"], len(manifest.files)
        log.info("%s: sound, %s films in %s files, digest %s", folder, f"{films:,}", files, manifest.digest)
    return 1 if faults else 0


if __name__ == "__main__":
    main()
