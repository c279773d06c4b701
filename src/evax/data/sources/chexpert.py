"""CheXpert v1.0 (Irvin et al. 2019) as Stanford publishes it, in full size or as v1.0-small."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from evax.data.files import has_suffix, list_files, plain_ending
from evax.data.film import Film, Refusal
from evax.data.findings import CHEXPERT
from evax.data.sources.base import FileSource
from evax.data.sources.tables import FORMER_NAMES, digest_of, once, read_labels, read_rows, with_files
from evax.data.splits import patient_draw

logger = logging.getLogger(__name__)

Views = Literal["frontal", "all"]

DOWNLOAD = "https://stanfordmlgroup.github.io/competitions/chexpert"
FORMS = ("CheXpert-v1.0", "CheXpert-v1.0-small")  # the folders of the two downloads; only the image sizes differ
BATCHES = "* batch [0-9]*"  # the full size also comes in parts: tables and valid/ in the first, patients in the others
TABLES = {"train": "train.csv", "valid": "valid.csv"}
ABOUT = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
PROJECTIONS = ("AP", "PA", "LL", "RL", "")  # LL and RL also stand in 17 of the frontal rows
SEXES = {"Female": "F", "Male": "M"}
VALIDATION_SHARE = 0.02  # of the patients of train.csv
SALT = "evax/chexpert/clean"

# the tables write the folder of the download before the path; it may have been renamed, or left out, or be a batch
_PATH = re.compile(
    r"(?:(?:[^/]+/)?(?P<part>train|valid)|[^/]+ batch \d+ \((?P<batch>train|valid)[^/]*\))"
    r"/(?P<name>(?P<patient>patient\d+)/(?P<study>study\d+)/view\d+_[a-z]+\.jpg)",
    re.ASCII,
)


@dataclass(frozen=True)
class CheXpertSource(FileSource):
    """The 14 observations of CheXpert, with uncertain (-1) and blank labels as they are.

    `raw_dir` is the folder of train.csv and valid.csv, or the one above it, or that of all batches; `views` keeps
    frontal films or all. Scheme "official" has train.csv as train and valid.csv as val; "clean" has valid.csv, which
    the benchmark reports on, as test, with train and val drawn by patient from train.csv.
    """

    name: ClassVar[str] = "chexpert"
    version: ClassVar[str] = "1.0"
    share: ClassVar[Literal["public", "credentialed"]] = "credentialed"
    findings: ClassVar[tuple[str, ...]] = CHEXPERT
    drawn: ClassVar[Mapping[str, tuple[str, ...]]] = {"clean": ("train", "val")}

    raw_dir: Path
    views: Views = "frontal"

    def __post_init__(self) -> None:
        if self.views not in get_args(Views):
            raise ValueError(f"source.views={self.views} is unknown; use {' or '.join(get_args(Views))}")

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films of train.csv and valid.csv in their order, and the rows and files that do not fit."""
        root = self._root()
        refusals: list[Refusal] = []
        rows, others = self._read_tables(root, refusals)
        paths = _image_paths(root, refusals)
        films, alone = with_files(rows, paths, others)
        logger.info("chexpert: %d films; %d of other views are left out", len(films), len(others))
        return films, once([*refusals, *alone])

    def fingerprint(self) -> str:
        """The sha256 of the tables, and the choice of views."""
        return digest_of(self._root(), TABLES.values(), self.views)

    def _read_tables(self, root: Path, refusals: list[Refusal]) -> tuple[dict[str, Film], set[str]]:
        """Sound rows of the wanted views by name, without their paths, and the names of the other views."""
        films: dict[str, Film] = {}
        others: set[str] = set()
        for part, table in TABLES.items():
            for row in read_rows(root / table, (*ABOUT, *CHEXPERT), DOWNLOAD, FORMER_NAMES):
                film = _film(row, part)
                if isinstance(film, Refusal):
                    refusals.append(film)
                elif film.image_id in films or film.image_id in others:
                    refusals.append(Refusal(film.image_id, "duplicate_row"))
                elif self.views == "all" or row["Frontal/Lateral"] == "Frontal":
                    films[film.image_id] = film
                else:
                    others.add(film.image_id)
        return films, others

    def _root(self) -> Path:
        """The folder that holds the tables and images."""
        places = [self.raw_dir, *(self.raw_dir / form for form in FORMS), *sorted(self.raw_dir.glob(BATCHES))]
        found = [place for place in places if any((place / table).is_file() for table in TABLES.values())]
        if len(found) > 1:
            raise ValueError(f"raw_dir={self.raw_dir} holds {len(found)} downloads: choose raw_dir={found[-1]}")
        root = (found or places)[0]
        missing = [table for table in TABLES.values() if not (root / table).is_file()]
        missing += [f"{part}/" for part in TABLES if not _folders(root, part)]
        if missing:
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} lacks {', '.join(missing)}: download CheXpert from {DOWNLOAD} and give the "
                f"folder {' or '.join(FORMS)} as raw_dir=..."
            )
        return root


def _film(row: Mapping[str, str], part: str) -> Film | Refusal:
    """A row of the table of `part`, without the path of its file."""
    match = _PATH.fullmatch(row["Path"])
    if match is None:
        return Refusal(row["Path"], "unsafe_name", "not the path of a CheXpert film")
    patient = match["patient"]
    name = f"{match['part'] or match['batch']}/{match['name']}"
    if not name.startswith(part):
        return Refusal(name, "bad_row", f"in the table {TABLES[part]}")
    if row["Frontal/Lateral"] not in ("Frontal", "Lateral") or row["AP/PA"] not in PROJECTIONS:
        return Refusal(name, "odd_view", f"{row['Frontal/Lateral']} {row['AP/PA']}")
    labels = read_labels(row, CHEXPERT)
    if labels is None:
        return Refusal(name, "bad_label", "|".join(row[finding] for finding in CHEXPERT))
    return Film(
        image_id=name,
        patient_id=patient,
        labels=labels,
        splits=_splits(part, patient),
        study_id=f"{patient}/{match['study']}",
        view=row["AP/PA"] or ("LATERAL" if row["Frontal/Lateral"] == "Lateral" else ""),
        sex=SEXES.get(row["Sex"], ""),
        age=float(row["Age"]) if row["Age"].isdecimal() else math.nan,
    )


def _folders(root: Path, part: str) -> list[Path]:
    """The folders of patients of a part, in the whole download or its batches."""
    home = root.parent if root.match(BATCHES) else root
    batches = sorted(home.glob(BATCHES))
    found = [folder / part for folder in (home, *batches) if (folder / part).is_dir()]
    return found + [batch for batch in batches if part == "train" and any(batch.glob("patient*"))]


def _image_paths(root: Path, refusals: list[Refusal]) -> dict[str, Path]:
    """The files by the names that the tables give them."""
    paths: dict[str, Path] = {}
    for part in TABLES:
        for folder in _folders(root, part):
            listing = list_files(folder, lambda path: has_suffix(path, (".jpg",)))
            refusals += [refusal._replace(item=f"{folder.name}/{refusal.item}") for refusal in listing.refusals]
            for below, path in listing.files.items():
                name = f"{part}/{plain_ending(below)}"
                if name in paths:
                    refusals.append(Refusal(f"{folder.name}/{name}", "duplicate_file"))
                else:
                    paths[name] = path
    return paths


def _splits(part: str, patient: str) -> dict[str, str]:
    if part == "valid":
        return {"official": "val", "clean": "test"}
    return {"official": "train", "clean": "val" if patient_draw(SALT, patient) < VALIDATION_SHARE else "train"}
