"""What the header of a DICOM film tells of it."""

import math
from pathlib import Path
from typing import NamedTuple

from evax.data.dicom_file import read_header
from evax.data.sources.tables import years

TAGS = ("PatientID", "PatientSex", "PatientAge", "ViewPosition")


class About(NamedTuple):
    """What the header of a film tells of it; "" and NaN are unknown."""

    patient: str = ""
    sex: str = ""
    age: float = math.nan
    view: str = ""


def read_about(path: Path) -> About:
    """Patient, sex, age in years and projection of a DICOM film, without its pixels; nothing of any other file."""
    header = read_header(path, TAGS)
    if header is None:
        return About()
    patient, sex, age, view = (str(header.get(tag) or "") for tag in TAGS)
    return About(patient, sex if sex in ("F", "M") else "", years(age), view)
