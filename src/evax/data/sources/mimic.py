"""MIMIC-CXR (Johnson et al. 2019) as PhysioNet publishes it: MIMIC-CXR-JPG, or the DICOM films with its tables."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

from evax.data.files import has_suffix, list_files
from evax.data.film import Film, Refusal
from evax.data.findings import CHEXPERT
from evax.data.labels import NOT_MENTIONED
from evax.data.sources.base import FileSource
from evax.data.sources.tables import FORMER_NAMES, digest_of, once, read_labels, read_rows, with_files
from evax.data.splits import IN_TWO_SPLITS

logger = logging.getLogger(__name__)

Views = Literal["frontal", "all"]
BlankView = Literal["drop", "keep"]
Images = Literal["jpg", "dcm"]

DOWNLOAD = "https://physionet.org/content/mimic-cxr-jpg"
METADATA, SPLIT, LABELS = (f"mimic-cxr-2.0.0-{table}.csv" for table in ("metadata", "split", "chexpert"))
FRONTAL = ("AP", "PA")
OTHERS = (
    *("LATERAL", "LL", "RL", "LAO", "RAO", "LPO", "RPO", "XTABLE LATERAL", "SWIMMERS"),
    *("AP AXIAL", "AP LLD", "AP RLD", "PA LLD", "PA RLD"),
)
SPLITS = {"train": "train", "validate": "val", "test": "test"}

_DICOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")


@dataclass(frozen=True)
class MimicCxrSource(FileSource):
    """The films of MIMIC-CXR with CheXpert's 14 observations of each study, uncertain (-1) and blank as they are.

    `raw_dir` holds the three tables of MIMIC-CXR-JPG, gzipped or not, and `files/p10/p10000032/s50414267/ID.jpg`;
    `images="dcm"` reads the DICOM release, whose `files/` has the same form. `views="frontal"` keeps AP and PA;
    `blank_view` says what becomes of the 15,769 films whose view is not known. Scheme: "official".
    """

    name: ClassVar[str] = "mimic"
    version: ClassVar[str] = "2.0.0"
    share: ClassVar[Literal["public", "credentialed"]] = "credentialed"
    findings: ClassVar[tuple[str, ...]] = CHEXPERT

    raw_dir: Path
    views: Views = "frontal"
    blank_view: BlankView = "drop"
    images: Images = "jpg"

    def __post_init__(self) -> None:
        for key, choices in (("views", Views), ("blank_view", BlankView), ("images", Images)):
            if getattr(self, key) not in get_args(choices):
                options = " or ".join(get_args(choices))
                raise ValueError(f"source.{key}={getattr(self, key)} is unknown; use {options}")

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films of the metadata table in its order, and the rows and files that do not fit."""
        self._check_layout()
        refusals: list[Refusal] = []
        rows, others = self._read_metadata(refusals)
        rows = self._with_labels(self._with_splits(rows, refusals), refusals)
        paths = self._image_paths(refusals)
        films, alone = with_files(rows, paths, others)
        return films, once([*refusals, *alone])

    def fingerprint(self) -> str:
        """The sha256 of the tables, and the choices."""
        self._check_layout()
        names = [self._table(table).name for table in (METADATA, SPLIT, LABELS)]
        return digest_of(self.raw_dir, names, f"{self.views} {self.blank_view} {self.images}")

    def _read_metadata(self, refusals: list[Refusal]) -> tuple[dict[str, Film], set[str]]:
        """Sound rows of the wanted views by name, and the names of the other views."""
        films: dict[str, Film] = {}
        others: set[str] = set()
        left_out: Counter[str] = Counter()
        columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
        for row in read_rows(self._table(METADATA), columns, DOWNLOAD):
            film = _film(row)
            if isinstance(film, Refusal):
                refusals.append(film)
            elif film.image_id in films or film.image_id in others:
                refusals.append(Refusal(film.image_id, "duplicate_row"))
            elif self._wants(film.view):
                films[film.image_id] = film
            else:
                others.add(film.image_id)
                left_out[film.view or "blank"] += 1
        counts = ", ".join(f"{count} {view}" for view, count in sorted(left_out.items())) or "none"
        logger.info("mimic: %d rows of the wanted views; left out: %s", len(films), counts)
        return films, others

    def _wants(self, view: str) -> bool:
        if not view:
            return self.blank_view == "keep"
        return self.views == "all" or view in FRONTAL

    def _with_splits(self, films: Mapping[str, Film], refusals: list[Refusal]) -> dict[str, Film]:
        """The films with their official split; a film in two splits is refused, one in none is kept and named."""
        splits: dict[str, str] = {}
        crossing: set[str] = set()
        for row in read_rows(self._table(SPLIT), ("dicom_id", "split"), DOWNLOAD):
            name, split = row["dicom_id"], SPLITS.get(row["split"])
            if name in films and split is None:
                refusals.append(Refusal(f"{name} (split)", "bad_row", f"split {row['split']}"))
            elif name in films and split and splits.setdefault(name, split) != split:
                refusals.append(Refusal(name, IN_TWO_SPLITS, f"{splits[name]} and {split}"))
                crossing.add(name)
        refusals += [Refusal(f"{name} (split)", "no_split", "") for name in films if name not in splits]
        return {
            name: replace(film, splits={"official": splits[name]} if name in splits else {})
            for name, film in films.items()
            if name not in crossing
        }

    def _with_labels(self, films: Mapping[str, Film], refusals: list[Refusal]) -> dict[str, Film]:
        """The films with their study's labels; blank for a study without a row, which is named and kept."""
        labels = {
            f"s{row['study_id']}": read_labels(row, CHEXPERT)
            for row in read_rows(self._table(LABELS), ("study_id", *CHEXPERT), DOWNLOAD, FORMER_NAMES)
        }
        unlabelled = dict.fromkeys(film.study_id for film in films.values() if film.study_id not in labels)
        refusals += [Refusal(f"{study} (labels)", "no_labels", f"not in {LABELS}") for study in unlabelled]
        blank = (NOT_MENTIONED,) * len(CHEXPERT)
        labelled: dict[str, Film] = {}
        for name, film in films.items():
            known = labels.get(film.study_id, blank)
            if known is None:
                refusals.append(Refusal(name, "bad_label", f"{LABELS}, {film.study_id}"))
            else:
                labelled[name] = replace(film, labels=known)
        return labelled

    def _image_paths(self, refusals: list[Refusal]) -> dict[str, Path]:
        paths: dict[str, Path] = {}
        listing = list_files(self.raw_dir / "files", lambda path: has_suffix(path, (f".{self.images}",)))
        refusals += [refusal._replace(item=f"files/{refusal.item}") for refusal in listing.refusals]
        for name, path in listing.files.items():
            if path.stem in paths:
                refusals.append(Refusal(f"files/{name}", "duplicate_file"))
            else:
                paths[path.stem] = path
        return paths

    def _table(self, name: str) -> Path:
        packed = self.raw_dir / f"{name}.gz"
        return packed if packed.is_file() else self.raw_dir / name

    def _check_layout(self) -> None:
        missing = [name for name in (METADATA, SPLIT, LABELS) if not self._table(name).is_file()]
        missing += [] if (self.raw_dir / "files").is_dir() else ["files/"]
        if missing:
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {', '.join(missing)} (.csv or .csv.gz): download MIMIC-CXR-JPG from "
                f"{DOWNLOAD} and give its folder as raw_dir=...; the DICOM release needs those tables beside its files/"
            )


def _film(row: Mapping[str, str]) -> Film | Refusal:
    """A row of the metadata, without labels, split and path."""
    name, patient, study, view = row["dicom_id"], row["subject_id"], row["study_id"], row["ViewPosition"]
    if not _DICOM_ID.fullmatch(name):
        return Refusal(name, "unsafe_name", "not a MIMIC-CXR name")
    if not all(number.isascii() and number.isdecimal() for number in (patient, study)):
        return Refusal(name, "bad_row", "no numbers of patient and study")
    if view and view not in FRONTAL and view not in OTHERS:
        return Refusal(name, "odd_view", view)
    return Film(image_id=name, patient_id=f"p{patient}", labels=(), study_id=f"s{study}", view=view)
