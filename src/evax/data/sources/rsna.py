"""RSNA Pneumonia Detection Challenge (2018): films of ChestX-ray14 with boxes of lung opacities."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

import cv2
import numpy as np
from jaxtyping import UInt8

from evax.data.atomic import sha256_of
from evax.data.files import IMAGE_SUFFIXES
from evax.data.film import BadFilmError, Box, Film, Refusal
from evax.data.sources.dicom_header import read_about
from evax.data.sources.masked import (
    LISTS,
    Chosen,
    MaskedSource,
    check_chosen,
    draw_split,
    images_in,
    listed,
    read_members,
    told_of,
    unmatched,
)
from evax.data.sources.rsna_boxes import DOWNLOAD, FINDING, SIDE, read_boxes
from evax.data.sources.tables import digest_of, once, with_files

logger = logging.getLogger(__name__)

Identity = Literal["nih", "film"]

MAPPING_AT = "https://s3.amazonaws.com/east1.public.rsna.org/AI/2018/pneumonia-challenge-dataset-mappings_2018.json"
TABLE, IMAGES = "stage_2_train_labels.csv", "stage_2_train_images"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
VAL_SHARE, TEST_SHARE = 0.1, 0.3  # of the patients; the published lists have 1,776 of 6,012 films as test
SALT = "evax/rsna/clean"
MASK, LAST = "pneumonia", "pneumonia_last"


@dataclass(frozen=True)
class RsnaSource(MaskedSource):
    """Films with the mask `pneumonia` of all their boxes, filled, and `pneumonia_last` of the last box alone.

    The last box alone, with one more row and column, is what EVA-X's code draws. `raw_dir` holds the table of labels,
    the folder of films, DICOM as published or PNG, and with `identity="nih"` the mapping of RSNA, by which patients are
    those of ChestX-ray14; with "film" each film is a patient of its own. `chosen` takes films with a box, or all.
    Scheme "official" is lists/train.txt and lists/test.txt, EVA-X's lists, where they are given: 71 % of those test
    films share a patient with train. Scheme "clean" is drawn by patient.
    """

    name: ClassVar[str] = "rsna"
    version: ClassVar[str] = "2018"
    share: ClassVar[Literal["public", "credentialed"]] = "public"
    findings: ClassVar[tuple[str, ...]] = (FINDING,)
    leaky: ClassVar[tuple[str, ...]] = ("official",)
    drawn: ClassVar[Mapping[str, tuple[str, ...]]] = {"clean": ("train", "val", "test")}

    raw_dir: Path
    chosen: Chosen = "positive"
    identity: Identity = "nih"

    def __post_init__(self) -> None:
        check_chosen(self.chosen)
        if self.identity not in get_args(Identity):
            raise ValueError(f"source.identity={self.identity} is unknown; use {' or '.join(get_args(Identity))}")

    @property
    def provenance(self) -> dict[str, str]:
        """The table, the lists, and where patients are from."""
        mapping = sha256_of(self.raw_dir / MAPPING) if self.identity == "nih" else ""
        patients = f"{MAPPING}, sha256 {mapping}" if mapping else "each film is one"
        return {TABLE: "boxes", "patients": patients, **told_of(listed(self.raw_dir / LISTS))}

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films of the table in its order, and the rows and files that do not fit."""
        self._check_layout()
        refusals: list[Refusal] = []
        rows = read_boxes(self.raw_dir / TABLE, refusals)
        bad = {refusal.item for refusal in refusals}
        paths = {path.stem: path for path in images_in(self.raw_dir / IMAGES, IMAGE_SUFFIXES, refusals)}
        wanted = {name: boxes for name, boxes in rows.items() if boxes or self.chosen == "all"}
        patients, members = self._patients(), read_members(listed(self.raw_dir / LISTS), refusals)
        films = {name: self._film(name, boxes, patients, members) for name, boxes in wanted.items()}
        refusals += [
            Refusal(f"{name} (identity)", "no_identity", f"not in {MAPPING}; the film is outside scheme clean")
            for name in films
            if patients and name not in patients
        ]
        refusals += unmatched(members, rows, "no_row", f"a row of {TABLE}")
        kept, alone = with_files(films, paths, {*rows, *bad})
        logger.info("rsna: %d films; %d without a box are left out", len(kept), len(rows) - len(wanted))
        return [_with_header(film) for film in kept], once([*refusals, *alone])

    def masks_of(self, film: Film, height: int, width: int) -> Mapping[str, UInt8[np.ndarray, "H W"]]:
        """All boxes, filled up to their end, and the last one with the pixels of its end."""
        if height != width:
            raise BadFilmError("mask_size", f"an image of {width}x{height}, and boxes of {SIDE}x{SIDE}")
        union = np.zeros((height, width), np.uint8)
        edges = [_edges(box, height, width) for box in film.boxes]
        for left, top, right, bottom in edges:
            union[top:bottom, left:right] = 1
        last = np.zeros_like(union)
        for left, top, right, bottom in edges[-1:]:
            cv2.rectangle(last, (left, top), (right, bottom), 1, cv2.FILLED)
        return {MASK: union, LAST: last}

    def fingerprint(self) -> str:
        """The sha256 of the tables and lists, and the settings."""
        self._check_layout()
        mapping = [MAPPING] if self.identity == "nih" else []
        files: list[str | Path] = [TABLE, *listed(self.raw_dir / LISTS).values(), *mapping]
        return digest_of(self.raw_dir, files, f"{self.chosen} {self.identity}")

    def _check_layout(self) -> None:
        names = [name for name in (TABLE, IMAGES) if not (self.raw_dir / name).exists()]
        if names:
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {', '.join(names)}: download the challenge from {DOWNLOAD} and give its "
                "folder as raw_dir=..."
            )
        if self.identity == "nih" and not (self.raw_dir / MAPPING).is_file():
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {MAPPING}, which tells the patients: put {MAPPING_AT} there, or take "
                "each film for a patient of its own by source.identity=film"
            )

    def _patients(self) -> dict[str, str]:
        """The patient of ChestX-ray14 whom each film shows."""
        if self.identity == "film":
            return {}
        path = self.raw_dir / MAPPING
        try:
            entries = json.loads(path.read_bytes())
            return {entry["subset_img_id"]: f"cxr14:{int(entry['img_id'].partition('_')[0])}" for entry in entries}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({type(error).__name__}): get it again from {MAPPING_AT}") from None

    def _film(self, name: str, boxes: tuple[Box, ...], patients: Mapping[str, str], members: Mapping[str, str]) -> Film:
        patient = patients.get(name, name)
        splits = {}
        if not patients or name in patients:
            splits["clean"] = draw_split(SALT, patient, val=VAL_SHARE, test=TEST_SHARE)
        if name in members:
            splits["official"] = members[name]
        return Film(name, patient, (int(bool(boxes)),), splits, boxes=boxes)


def _edges(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box in whole pixels of a film."""
    return (
        int(box.x * width),
        int(box.y * height),
        int((box.x + box.width) * width),
        int((box.y + box.height) * height),
    )


def _with_header(film: Film) -> Film:
    """The film with what the header of its file tells; patients there are the films again."""
    assert film.path is not None
    about = read_about(film.path)
    return replace(film, view=about.view, sex=about.sex, age=about.age)
