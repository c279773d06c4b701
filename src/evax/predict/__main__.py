"""`python -m evax.predict --weights FILE_OR_RUN --images FOLDER`: what a classifier or segmenter makes of films."""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evax.checkpoints.errors import WeightsError
from evax.checkpoints.published import missing_weights
from evax.config import ConfigError

if TYPE_CHECKING:
    from evax.predict.segmenter import FilmSegmenter

log = logging.getLogger("evax.predict")
KEYS = re.compile(r"(weights|images|output|batch[_-]size|size|workers|backbone|key|threshold)=")

NOTICE = "evax is research software, not a medical device: these numbers are no basis for a diagnosis"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evax.predict",
        description="Classify or segment every PNG, JPEG and DICOM film below a folder. A classifier writes "
        "probabilities.csv and embeddings.parquet, a segmenter masks/ and areas.csv, both quarantine.csv (files that "
        "are no films, with reasons). What is done is kept, and the same command goes on after an end of any kind. "
        + NOTICE
        + ".",
        epilog="KEY=VALUE is taken for --KEY VALUE, as in weights=FILE images=FOLDER. The exit code is 1 where "
        "nothing could be read, 2 for a mistake on the command line.",
    )
    parser.add_argument("--weights", required=True, metavar="RUN_OR_FILE", help="trained run, export or _ft file")
    parser.add_argument("--images", required=True, type=Path, metavar="FOLDER", help="images at any depth, or one")
    parser.add_argument("--output", type=Path, default=Path("predictions"), metavar="DIR", help="(predictions)")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="films at once (32)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="another image size than that of the weights")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read films (1, with a GPU up to 8)")
    parser.add_argument("--backbone", metavar="NAME", help="architecture of the weights, where nothing tells it")
    parser.add_argument("--threshold", type=float, metavar="T", help="of masks, in (0, 1) (that of the weights)")
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
    if options.threshold is not None and not 0 < options.threshold < 1:
        parser.exit(2, f"error: --threshold {options.threshold:g}: give a number between 0 and 1\n")
    if not options.images.exists():
        parser.exit(2, f"error: --images {options.images}: no such folder or file\n")
    if not Path(options.weights).exists():
        parser.exit(2, f"error: {missing_weights('--weights', options.weights)}\n")
    log.info("%s", NOTICE)
    try:
        run(options)
    except (WeightsError, ConfigError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130)


def run(options: argparse.Namespace) -> None:
    """What needs torch, which takes seconds to import."""
    import torch

    from evax.checkpoints.segmenters import is_segmenter
    from evax.checkpoints.weight_files import read_content
    from evax.predict.folder import default_workers, predict_folder
    from evax.predict.loading import classifier_in, segmenter_in
    from evax.predict.mask_folder import segment_folder

    chosen: dict[str, Any] = {"backbone": options.backbone, "image_size": options.size}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = default_workers() if options.workers is None else options.workers
    how: dict[str, Any] = {"batch_size": options.batch_size, "workers": workers}
    content = read_content(options.weights, key=options.key)
    if is_segmenter(content):
        segmenter = with_threshold(segmenter_in(content, **chosen), options.threshold).to(device)
        counts = segment_folder(segmenter, options.images, options.output, **how)
    elif options.threshold is not None:
        raise WeightsError(f"--threshold {options.threshold:g}: is for masks, and {options.weights} classifies")
    else:
        classifier = classifier_in(content, **chosen).to(device)
        counts = predict_folder(classifier, options.images, options.output, **how)
    log.info("%d films read, %d files refused; written to %s", counts.films, counts.refused, options.output)
    if not counts.films:
        log.error("nothing could be read below %s", options.images)
        raise SystemExit(1)


def with_threshold(segmenter: "FilmSegmenter", threshold: float | None) -> "FilmSegmenter":
    """The segmenter with the user's threshold for all classes, in place of those that its weights bring."""
    if threshold is not None:
        segmenter.thresholds = (threshold,) * len(segmenter.classes)
    elif not segmenter.has_thresholds:
        log.warning("no threshold was chosen on validation films; %g is used, or --threshold", segmenter.thresholds[0])
    return segmenter


if __name__ == "__main__":
    main()
