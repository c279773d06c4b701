"""A folder of a user's own films, with a table of their labels or without."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal, get_args

from evax.data.atomic import sha256_of
from evax.data.dicom import MAGIC, is_dicom
from evax.data.film import Film, Refusal
from evax.data.sources.base import FileSource
from evax.data.sources.folder_table import Columns, film_of, find, places_of, read_table
from evax.data.sources.tables import digest_of, once
from evax.data.splits import patient_draw

logger = logging.getLogger(__name__)

Patients = Literal["film", "folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
TRAIN_SHARE, VAL_SHARE = 0.7, 0.1  # of the patients, where no split is given
SALT = "evax/folder"


@dataclass(frozen=True)
class FolderSource(FileSource):
    """PNG, JPEG and DICOM films in `raw_dir` and the folders below it; they never leave the machine.

    `table` is a csv file, in `raw_dir` unless its path says otherwise, whose columns `columns` names; without it films
    have no labels. Where no column tells the patients, each film is a patient of its own, or, with
    `patients="folder"`, each folder right below `raw_dir`. Scheme "official" is the column of splits; without one,
    70 % of the patients train, 10 % validate and 20 % test, by a draw that each keeps.
    """

    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "1"
    share: ClassVar[Literal["public", "credentialed"]] = "credentialed"
    redraw: ClassVar[str] = "source.columns.split=null"

    raw_dir: Path
    table: str | None = None
    columns: Columns = field(default_factory=Columns)
    patients: Patients = "film"

    def __post_init__(self) -> None:
        if self.patients not in get_args(Patients):
            raise ValueError(f"source.patients={self.patients} is unknown; use {' or '.join(get_args(Patients))}")
        if self.table is None and self.columns.named() != Columns().named():
            raise ValueError("source.columns names columns of source.table, which is null; give source.table=FILE.csv")
        twice = sorted({label for label in self.columns.labels if list(self.columns.labels).count(label) > 1})
        if twice:
            raise ValueError(f"source.columns.labels has {twice[0]} twice")

    @property
    def findings(self) -> tuple[str, ...]:
        """The columns of labels."""
        return tuple(self.columns.labels)

    @property
    def drawn(self) -> Mapping[str, tuple[str, ...]]:
        """All splits, where no column tells them."""
        return {} if self.columns.split is not None else {"official": ("train", "val", "test")}

    @property
    def provenance(self) -> dict[str, str]:
        """The table, and where patients and splits are from."""
        told = {"splits": self.columns.split, "patients": self.columns.patient}
        sources = {key: f"column {column}" for key, column in told.items() if column is not None}
        told_of_us = {"splits": "drawn by patient", "patients": f"each {self.patients} is one"}
        table = {} if self.table is None else {Path(self.table).name: f"sha256 {sha256_of(self._table())}"}
        return table | told_of_us | sources

    def films(self) -> tuple[list[Film], list[Refusal]]:
        """The films in the order of the table, or of their names, and the rows and files that do not fit."""
        files = self._files()
        refusals: list[Refusal] = []
        if self.table is None:
            films = {name: Film(name, self._patient(name), ()) for name in files}
        else:
            films = self._read_table(files, refusals)
            refusals += [Refusal(name, "no_row", "a file without its row") for name in files if name not in films]
        if self.columns.patient is None:
            logger.info("folder: no column of patients, so each %s counts as a patient of its own", self.patients)
        return [replace(self._drawn(film), path=files[name]) for name, film in films.items()], once(refusals)

    def fingerprint(self) -> str:
        """The sha256 of the table and the settings; files are known by themselves."""
        names = [] if self.table is None else [str(self._table().absolute())]
        return digest_of(self.raw_dir, names, f"{self.columns.named()} {self.patients}")

    def _read_table(self, files: Mapping[str, Path], refusals: list[Refusal]) -> dict[str, Film]:
        """Films of sound rows by name."""
        films: dict[str, Film] = {}
        places = places_of(files)
        for row in read_table(self._table(), self.columns):
            name = find(row[self.columns.image], files, places)
            film = name if isinstance(name, Refusal) else film_of(row, name, self.columns, self._patient(name))
            if isinstance(film, Refusal):
                refusals.append(film)
            elif film.image_id in films:
                refusals.append(Refusal(film.image_id, "duplicate_row"))
            else:
                films[film.image_id] = film
        return films

    def _table(self) -> Path:
        path = self.raw_dir / (self.table or "")
        if not path.is_file():
            raise FileNotFoundError(f"source.table={self.table}: there is no file {path}")
        return path

    def _patient(self, name: str) -> str:
        """Who the patient is where no column tells."""
        parts = PurePosixPath(name).parts
        return parts[0] if self.patients == "folder" and len(parts) > 1 else name

    def _drawn(self, film: Film) -> Film:
        """The film with a split of its patient's, where no column tells."""
        if self.columns.split is not None:
            return film
        draw = patient_draw(SALT, film.patient_id)
        split = "train" if draw < TRAIN_SHARE else "val" if draw < TRAIN_SHARE + VAL_SHARE else "test"
        return replace(film, splits={"official": split})

    def _files(self) -> dict[str, Path]:
        """All films by their path from the folder, in its order."""
        paths = sorted(path for path in self.raw_dir.rglob("*") if path.is_file() and _is_film(path))
        files = {path.relative_to(self.raw_dir).as_posix(): path for path in paths}
        shown = {name: path for name, path in files.items() if not name.startswith(".") and "/." not in name}
        if not shown:
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} has no films: PNG, JPEG or DICOM files in it or in folders below it are wanted"
            )
        return shown


def _is_film(path: Path) -> bool:
    """Whether a file's name says that it is a film, or its content that it is DICOM, which may have any name."""
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        return is_dicom(file.read(MAGIC.stop))
