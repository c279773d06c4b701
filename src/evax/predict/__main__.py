"""`python -m evax.predict --weights FILE_OR_RUN --images FOLDER`: probabilities and embeddings of a folder of films."""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from evax.checkpoints.errors import WeightsError

log = logging.getLogger("evax.predict")
KEYS = re.compile(r"(weights|images|output|batch[_-]size|size|workers|backbone|key)=")

NOTICE = "evax is research software, not a medical device: these numbers are no basis for a diagnosis"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evax.predict",
        description="Classify every PNG, JPEG and DICOM film below a folder. Writes probabilities.csv, "
        "embeddings.parquet and quarantine.csv (files that are no films, with reasons). " + NOTICE + ".",
        epilog="KEY=VALUE is taken for --KEY VALUE, as in weights=FILE images=FOLDER. The exit code is 1 where "
        "nothing could be read, 2 for a mistake on the command line.",
    )
    parser.add_argument("--weights", required=True, metavar="RUN_OR_FILE", help="fine-tuning run, export or _ft file")
    parser.add_argument("--images", required=True, type=Path, metavar="FOLDER", help="films, in folders of any depth")
    parser.add_argument("--output", type=Path, default=Path("predictions"), metavar="DIR", help="(predictions)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="films at once (32)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="another image size than that of the weights")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read films (1, with a GPU up to 8)")
    parser.add_argument("--backbone", metavar="NAME", help="architecture of the weights, where nothing tells it")
    parser.add_argument("--key", help="container in the file, where there are several")
    return parser


def as_options(words: Sequence[str]) -> list[str]:
    """Words of the command line, with KEY=VALUE as --KEY=VALUE."""
    return [f"--{word.replace('batch_size=', 'batch-size=', 1)}" if KEYS.match(word) else word for word in words]


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict; a user's mistake ends it with one line and status 2."""
    parser = build_parser()
    options = parser.parse_args(as_options(sys.argv[1:] if arguments is None else arguments))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, least in (("batch_size", 1), ("workers", 0)):
        if (value := getattr(options, name)) is not None and value < least:
            parser.exit(2, f"error: --{name.replace('_', '-')} {value}: give a whole number from {least}\n")
    if not options.images.is_dir():
        parser.exit(2, f"error: --images {options.images}: no such folder\n")
    log.info("%s", NOTICE)
    try:
        run(options)
    except (WeightsError, OSError) as error:
        parser.exit(2, f"error: {error}\n")


def run(options: argparse.Namespace) -> None:
    """What needs torch, which takes seconds to import."""
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from evax.predict.folder import default_workers, predict_folder
    from evax.predict.loading import load_classifier

    classifier = load_classifier(options.weights, key=options.key, backbone=options.backbone, image_size=options.size)
    classifier.to("cuda" if torch.cuda.is_available() else "cpu")
    workers = default_workers() if options.workers is None else options.workers
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        counts = predict_folder(
            classifier,
            options.images,
            options.output,
            batch_size=options.batch_size,
            workers=workers,
            progress=progress,
        )
    log.info("%d films read, %d files refused; written to %s", counts.films, counts.refused, options.output)
    if not counts.films:
        log.error("nothing could be read below %s", options.images)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
