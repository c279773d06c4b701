"""What the header of a DICOM film tells of it."""

import math
import warnings
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread

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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            patient, sex, age, view = (str(header.get(tag) or "") for tag in TAGS)
    except Exception:  # its pixels will be refused with a reason
        return About()
    return About(patient, sex if sex in ("F", "M") else "", years(age), view)
