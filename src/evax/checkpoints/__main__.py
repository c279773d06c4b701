"""`python -m evax.checkpoints inspect|export|fetch`: what a file is, weights for others, published weights."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from evax.backbones import EvaX, create_backbone
from evax.backbones.eva_x import SIZES
from evax.checkpoints.atomic import CheckpointWriteError
from evax.checkpoints.export import export_meta, run_config
from evax.checkpoints.fetch import FetchError, fetch, published
from evax.checkpoints.inspection import describe, describe_known, find_fits, image_size_of
from evax.checkpoints.published import PUBLISHED
from evax.checkpoints.weight_files import Weights, WeightsError, read_content, under_timm_names
from evax.checkpoints.weights import export_weights, fit_weights, load_weights
from evax.data.normalisation import Normalisation

log = logging.getLogger("evax.checkpoints")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m evax.checkpoints", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    about = commands.add_parser("inspect", help="say what a file is, which backbone it fits and what would load")
    export = commands.add_parser("export", help="write a run's or file's backbone as safetensors and JSON")
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
        if options.command == "inspect":
            inspect_file(options.source, options.backbone, options.key)
        elif options.command == "export":
            export_file(options.source, options.out, options.backbone, options.key)
        elif options.name is None:
            list_published()
        else:
            fetch(published(options.name), options.to)
    except (WeightsError, FetchError, CheckpointWriteError) as error:
        parser.exit(2, f"error: {error}\n")


def inspect_file(source: Path, backbone: str | None, key: str | None) -> None:
    """Log what a file is and what would load; raises WeightsError where it does not fit `backbone`."""
    content = read_content(source, key=key)
    weights = under_timm_names(content)
    facts = describe(content, weights)
    if backbone is not None:
        size = image_size_of(weights.tensors) or 224
        fits = {backbone: fit_weights(on_meta(backbone, size), weights)[1]}
    else:
        found = find_fits(weights, on_meta)
        fits = {fit.entry.backbone: fit.report for fit in found}
        facts |= describe_known(weights, found)
    facts |= {f"fits {number}": f"{name}: {fits[name].summary}" for number, name in enumerate(fits, 1)}
    if not fits:
        facts["fits"] = "none of the published backbones; try one by --backbone NAME"
    log.info("\n".join(f"{label:<10} {text}" for label, text in facts.items()))


def export_file(source: Path, out: Path, backbone: str | None, key: str | None) -> None:
    """Write a run's or file's backbone, with what is known about it."""
    if out.suffix != ".safetensors":
        raise WeightsError(f"{out}: exports are safetensors; name it {out.with_suffix('.safetensors').name}")
    content = read_content(source, key=key)
    weights = under_timm_names(content)
    config = run_config(content.file)
    name = backbone or (config.get("backbone") or {}).get("name") or fitting_backbone(weights)
    image_size = image_size_of(weights.tensors) or config.get("image_size", 224)
    mask_token = name in SIZES and "mask_token" in weights.tensors
    model = create(name, image_size, mask_token=mask_token)
    report = load_weights(model, content.file, key=key)
    own = Normalisation(model.pretrained_cfg["mean"], model.pretrained_cfg["std"]) if isinstance(model, EvaX) else None
    known = report.normalisation or own
    architecture = {"name": name, "image_size": image_size, "mask_token": mask_token}
    export_weights(model, out, export_meta(content, architecture, known, config))
    log.info("%s\nwrote %s and %s", report, out, out.with_suffix(".json").name)


def list_published() -> None:
    """Log every name that `fetch` takes."""
    width = max(len(entry.name) for entry in PUBLISHED)
    for entry in PUBLISHED:
        by_hand = "" if entry.url else "; by hand, `fetch` says how"
        log.info("%-*s  %s; licence: %s%s", width, entry.name, entry.what, entry.licence, by_hand)


def fitting_backbone(weights: Weights) -> str:
    """The published backbone that takes a file with the least resampling."""
    fits = find_fits(weights, on_meta)
    if not fits:
        raise WeightsError(f"{weights.file}: fits none of the published backbones; name its own by --backbone NAME")
    return fits[0].entry.backbone


def on_meta(name: str, image_size: int) -> nn.Module:
    """A backbone without numbers, to compare with."""
    with torch.device("meta"):
        return create(name, image_size)


def create(name: str, image_size: int, *, mask_token: bool = False) -> nn.Module:
    """`evax.create_backbone`, whose refusal is a mistake in --backbone."""
    try:
        return create_backbone(name, image_size=image_size, mask_token=mask_token)
    except ValueError as error:
        raise WeightsError(f"--backbone: {error}") from error


if __name__ == "__main__":
    main()
