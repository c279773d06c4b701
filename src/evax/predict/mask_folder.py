"""Masks and areas of all films below a folder."""

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from rich.progress import Progress

from evax.data.atomic import replacing
from evax.data.decoding import DecodingPool
from evax.predict.films import FilmReader, blocks_of, files_below
from evax.predict.folder import Counts
from evax.predict.segmenter import FilmSegmenter
from evax.predict.tables import QUARANTINE

AREAS, MASKS = "areas.csv", "masks"
# Colours of the classes in a mask's PNG, which repeat; its values are the classes.
PALETTE = ((0, 0, 0), (77, 163, 255), (224, 208, 0), (255, 110, 90), (47, 111, 79), (154, 107, 63))


def segment_folder(
    segmenter: FilmSegmenter,
    folder: Path,
    output: Path,
    *,
    batch_size: int = 8,
    workers: int = 0,
    progress: Progress | None = None,
) -> Counts:
    """Write a mask for every film below `folder` into `output`, and tables of areas and of files that are no films.

    A mask has the film's size and stands under its path in `masks/`. Areas are shares of the film's pixels. `workers`
    are those of `predict_folder`.
    """
    progress = progress or Progress(disable=True)
    bar = progress.add_task("films", total=sum(1 for _ in files_below(folder, skip=output)))
    counts, written = Counts(0, 0), set[Path]()
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        pool = stack.enter_context(DecodingPool(FilmReader(segmenter.view), workers))
        areas, refused = (table(stack, output / name) for name in (AREAS, QUARANTINE))
        areas.writerow(["image", *segmenter.classes])
        refused.writerow(["image", "reason", "detail"])
        for block in blocks_of(folder, files_below(folder, skip=output), pool):
            refused.writerows(block.refusals)
            for place, name in enumerate(block.names):
                if place % batch_size == 0:
                    logits = logits_of(segmenter, block.squares[place : place + batch_size])
                mask = segmenter.mask_of(logits[place % batch_size], block.shapes[place])
                save_mask(mask, place_of(output / MASKS, name, written))
                areas.writerow([name, *(f"{share:.6g}" for share in shares(mask, len(segmenter.classes)))])
            counts = Counts(counts.films + len(block.names), counts.refused + len(block.refusals))
            progress.advance(bar, block.num_files)
    return counts


def table(stack: ExitStack, path: Path) -> Any:
    """A csv table that takes its place at the end; after an error it does not."""
    return csv.writer(stack.enter_context(stack.enter_context(replacing(path)).open("w", newline="", encoding="utf-8")))


@torch.inference_mode()
def logits_of(segmenter: FilmSegmenter, squares: UInt8[np.ndarray, "N 1 S S"]) -> torch.Tensor:
    """Logits (N, C, S, S) of what the segmenter's view made of films."""
    return segmenter.logits(torch.from_numpy(squares)).cpu()


def shares(mask: UInt8[np.ndarray, "H W"], num_classes: int) -> list[float]:
    """The share of the film that each class covers, in [0, 1]."""
    found: list[float] = (np.bincount(mask.ravel(), minlength=num_classes + 1)[1:] / mask.size).tolist()
    return found


def place_of(folder: Path, name: str, written: set[Path]) -> Path:
    """Where the mask of a film goes: its own name, with .png behind another ending; never where a mask is already."""
    path = folder / (name if name.lower().endswith(".png") else f"{name}.png")
    while path in written:
        path = path.with_name(f"{path.name}.png")
    written.add(path)
    return path


def save_mask(mask: UInt8[np.ndarray, "H W"], path: Path) -> None:
    """A PNG whose values are the classes, and which viewers show in colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(mask)
    colors = PALETTE[:1] + PALETTE[1:] * (255 // (len(PALETTE) - 1))
    picture.putpalette([channel for color in colors for channel in color])
    picture.save(path)
