"""Masks and areas of all films below a folder."""

import errno
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from evax.data.atomic import replacing
from evax.predict.filling import Counts, Predictor, Row, fill
from evax.predict.films import Batch
from evax.predict.journal import FOLDER, Journal
from evax.predict.segmenter import FilmSegmenter
from evax.predict.tables import AREAS

MASKS = "masks"
# Colours of the classes in a mask's PNG, which repeat; its values are the classes.
PALETTE = ((0, 0, 0), (77, 163, 255), (224, 208, 0), (255, 110, 90), (47, 111, 79), (154, 107, 63))
TOO_LONG = "unsafe_name", "the path of its mask is too long: shorten the name, or give another --output"


class SegmenterPredictor(Predictor):
    """A mask for each image, and the shares of the image that its classes cover as rows."""

    kind: ClassVar[str] = "segmenter"
    table: ClassVar[str] = AREAS
    others: ClassVar[tuple[str, ...]] = (MASKS,)

    def __init__(self, model: FilmSegmenter, output: Path) -> None:
        super().__init__(model, output)
        self._former: dict[str, Path] = {}  # the masks of an earlier run
        self._taken: set[Path] = set()

    @property
    def settings(self) -> dict[str, Any]:
        """Weights, size and thresholds."""
        return {**super().settings, "thresholds": list(self.model.thresholds)}

    def begin(self, journal: Journal, names: Iterable[str]) -> list[str]:
        """No mask goes where another one is, or where a folder of masks will be."""
        self._former = {name: self.output / each.mask for name, each in journal.records.items() if each.mask}
        folders = {self.output / MASKS / parent for name in names for parent in PurePosixPath(name).parents}
        self._taken = folders | set(self._former.values())
        return [name for name, path in self._former.items() if not path.is_file()]

    def predict(self, batch: Batch) -> tuple[list[Row], None]:
        """Areas of six digits; the masks are saved."""
        logits = logits_of(self.model, batch.squares)
        masks = map(self.model.mask_of, logits, batch.shapes)
        return [self._saved(mask, name) for name, mask in zip(batch.names, masks, strict=True)], None

    def finish(self, journal: Journal, names: Iterable[str]) -> None:
        """Remove the masks of images that changed and are refused now."""
        for name, path in self._former.items():
            if name in journal.records and journal.records[name].reason:
                path.unlink(missing_ok=True)

    def _saved(self, mask: UInt8[np.ndarray, "H W"], name: str) -> Row:
        path = self._former.get(name) or place_of(self.output / MASKS, name, self._taken)
        try:
            with replacing(path, self.output / FOLDER / "mask.png") as temporary:
                save_mask(mask, temporary)
                path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return Row((), refusal=TOO_LONG)
        cells = (f"{share:.6g}" for share in shares(mask, len(self.model.classes)))
        return Row(tuple(cells), path.relative_to(self.output).as_posix())


def segment_folder(
    segmenter: FilmSegmenter, images: Path, output: Path, *, batch_size: int = 8, workers: int = 0
) -> Counts:
    """Write a mask for every film below `images` into `output`, and tables of areas and of files that are no films.

    A mask has the film's size and stands under its path in `masks/`. Areas are shares of the film's pixels. What
    `output` holds of a run that was ended is gone on with. `workers` are those of `evax.predict.filling.fill`.
    """
    return fill(SegmenterPredictor(segmenter, output), images, batch_size=batch_size, workers=workers)


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
