"""A folder of a user's own films, with a table of their labels or without."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, get_args

from evax.data.atomic import sha256_of
from evax.data.dicom_file import HEAD, is_dicom, no_image_in
from evax.data.files import Listing, form_of, has_suffix, left_out, list_files, other_forms
from evax.data.film import NO_IMAGE, Film, Refusal
from evax.data.sources.base import FileSource
from evax.data.sources.folder_table import Columns, Places, check_spellings, crowded, film_of, read_table
from evax.data.sources.label_words import label_of, unknown_words, words_of
from evax.data.sources.tables import digest_of, once
from evax.data.splits import patient_draw

logger = logging.getLogger(__name__)

Patients = Literal["film", "folder"]

TRAIN_SHARE, VAL_SHARE = 0.7, 0.1  # of the patients, where no split is given
SALT = "evax/folder"


@dataclass(frozen=True)
class FolderSource(FileSource):
    """PNG, JPEG and DICOM films in `raw_dir` and the folders below it; they never leave the machine.

    `table` is a csv file, in `raw_dir` unless its path says otherwise, whose columns `columns` names; without it films
    have no labels. `label_map` says what words in columns of labels mean: 1, 0, -1 or null; `encoding` what the table
    is where that is not UTF-8, nor UTF-16. Where no column tells the patients, each film is a patient of its own, or,
    with `patients="folder"`, each folder right below `raw_dir`. Scheme "official" is the column of splits; without
    one, 70 % of the patients train, 10 % validate and 20 % test, by a draw that each keeps.
    """

    name: ClassVar[str] = "folder"
    version: ClassVar[str] = "1"
    share: ClassVar[Literal["public", "credentialed"]] = "credentialed"
    redraw: ClassVar[str] = "source.columns.split=null"

    raw_dir: Path
    table: str | None = None
    columns: Columns = field(default_factory=Columns)
    label_map: Any = None
    encoding: str | None = None
    patients: Patients = "film"

    def __post_init__(self) -> None:
        if self.patients not in get_args(Patients):
            raise ValueError(f"source.patients={self.patients} is unknown; use {' or '.join(get_args(Patients))}")
        if self.table is None and self.columns.named() != Columns().named():
            raise ValueError("source.columns names columns of source.table, which is null; give source.table=FILE.csv")
        words_of(self.label_map)

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
        listing = self._listing()
        files, refusals = listing.files, list(listing.refusals)
        if self.table is None:
            films = {name: Film(name, self._patient(name), ()) for name in files}
        else:
            films = self._read_table(files, refusals)
            refusals += [_without_row(name, path) for name, path in files.items() if name not in films]
        if self.columns.patient is None:
            logger.info("folder: no column of patients, so each %s counts as a patient of its own", self.patients)
        refusals += other_forms(listing)  # last: a row that has such a file is a row without its image
        return [replace(self._drawn(film), path=files[name]) for name, film in films.items()], once(refusals)

    def fingerprint(self) -> str:
        """The sha256 of the table and the settings; files are known by themselves."""
        names = [] if self.table is None else [str(self._table().absolute())]
        settings = f"{self.columns.named()} {self.patients}"
        settings += f" {sorted(self._words.items())}" if self.label_map else ""
        settings += f" {self.encoding}" if self.encoding else ""
        return digest_of(self.raw_dir, names, settings)

    @cached_property
    def _words(self) -> dict[str, int]:
        """What the words in columns of labels mean."""
        return words_of(self.label_map)

    def _read_table(self, files: Mapping[str, Path], refusals: list[Refusal]) -> dict[str, Film]:
        """Films of sound rows by name; ValueError where there is none, or where rows may be of one patient or two."""
        films: dict[str, Film] = {}
        differing: set[str] = set()
        places = Places(self.raw_dir, files)
        unknown = {column: Counter[str]() for column in self.columns.labels}
        faults: list[Refusal] = []
        for row in read_table(self._table(), self.columns, self.encoding):
            film = row if isinstance(row, Refusal) else self._film(row, places)
            if isinstance(film, Refusal):
                faults.append(film)
            elif film != films.setdefault(film.image_id, film):
                differing.add(film.image_id)
            elif film is not films[film.image_id]:
                faults.append(Refusal(film.image_id, "duplicate_row"))
            if not isinstance(row, Refusal):
                for column, counts in unknown.items():
                    counts.update([row[column]] if label_of(row[column], self._words) is None else [])
        faults += [Refusal(name, "conflicting_rows", "its rows say different things: keep one") for name in differing]
        kept = {name: film for name, film in films.items() if name not in differing}
        self._check_rows(kept, faults, unknown)
        refusals += faults
        return kept

    def _film(self, row: Mapping[str, str], places: Places) -> Film | Refusal:
        """The film of a row."""
        name = places.find(row[self.columns.image])
        if isinstance(name, Refusal):
            return name
        return film_of(row, name, self.columns, self._patient(name), self._words)

    def _check_rows(
        self, films: Mapping[str, Film], faults: list[Refusal], unknown: Mapping[str, Counter[str]]
    ) -> None:
        """Say which labels have no meaning; raise ValueError where no row is left, with the reasons."""
        table = self._table()
        words = unknown_words(unknown) if any(unknown.values()) else ""
        if not films and not faults:
            raise ValueError(f"{table}: there is no row below the names of the columns")
        if not films:
            reasons = ", ".join(
                f"{count} {reason}" for reason, count in Counter(f.reason for f in faults).most_common()
            )
            first = f"such as {faults[0].item}: {faults[0].detail or faults[0].reason}"
            raise ValueError(f"{table}: none of its rows can be used ({reasons}); {words or first}")
        if words:
            logger.warning("%s: rows are refused: %s", table, words)
        if self.columns.patient is not None:
            patients = [film.patient_id for film in films.values()]
            check_spellings(table, self.columns.patient, {*patients})
            if told := crowded(self.columns.patient, patients):
                logger.warning("%s: %s", table, told)

    def _table(self) -> Path:
        path = self.raw_dir / (self.table or "")
        if not path.is_file():
            raise FileNotFoundError(
                f"source.table={self.table}: there is no file {path}; give its path from raw_dir, or from the root"
            )
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

    def _listing(self) -> Listing:
        """All images by their path from the folder, in its order, and what is left out, which is told."""
        listing = list_files(self.raw_dir, _is_film)
        if self.table is not None:
            table = self._table()
            listing.others = [name for name in listing.others if self.raw_dir / name != table]
        told = left_out(listing)
        if not listing.files and not listing.refusals:
            raise FileNotFoundError(
                f"raw_dir={self.raw_dir} has no films: PNG, JPEG or DICOM files in it or in folders below it are wanted"
                f"{told and f'; {told}'}"
            )
        if told:
            logger.info("folder: %s", told)
        return listing


def _without_row(name: str, path: Path) -> Refusal:
    """Why a file that the table does not name is left out; a report or directory among the images needs no row."""
    kind = no_image_in(path)
    return Refusal(name, NO_IMAGE, kind) if kind else Refusal(name, "no_row", "a file without its row")


def _is_film(path: Path) -> bool:
    """Whether a file's name says that it is an image, or its content that it is DICOM, which may have any name.

    A file that cannot be opened may be one where its name has no ending.
    """
    if has_suffix(path):
        return True
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(HEAD))
    except OSError:
        return not form_of(path.name)
