"""Leakage: no patient and no film may be on both sides of a comparison."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evax.data.pack import Pack


class LeakageError(Exception):
    """Patients or films are on both sides of a split; the message counts them and never names them."""


@dataclass(frozen=True)
class Cohort:
    """Some films of a pack, as sets that can be compared with those of another pack.

    `patients` are qualified by their source ("cxr14:150"), because a bare number means nothing elsewhere; a
    source that re-publishes films of another set qualifies its patient ids itself. `files` and `pixels` are
    digests of the films as stored and as decoded.
    """

    name: str
    patients: frozenset[str]
    files: frozenset[str]
    pixels: frozenset[str]


def crossing(keys: Iterable[str], splits: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The keys (patients, or digests of pixels) that occur in more than one split; "" is no split."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for key, split in zip(keys, splits, strict=True):
        if split:
            seen[key].add(split)
    return {key: tuple(sorted(names)) for key, names in seen.items() if len(names) > 1}


def cohort(pack: Pack, scheme: str, splits: Sequence[str]) -> Cohort:
    """The films of a pack that a scheme puts into one of `splits`."""
    rows = [row for row, split in enumerate(pack.split(scheme)) if split in splits]
    patients = pack.patient_ids[rows].tolist()
    files, pixels = (pack.column(name)[rows].tolist() for name in ("file_sha256", "pixel_sha256"))
    return Cohort(
        f"{pack.manifest.source}/{scheme}/{'+'.join(splits)}",
        frozenset(_qualified(patient, pack.manifest.source) for patient in patients),
        frozenset(files) - {""},
        frozenset(pixels),
    )


def check_gate(pretraining: Cohort, downstream: Sequence[Cohort]) -> dict[str, Any]:
    """Prove that no film of `pretraining` is, or shares a patient with, a film of a downstream test set.

    Returns a verdict of plain types for the checkpoint; raises LeakageError at the first overlap.
    """
    for test in downstream:
        patients = len(pretraining.patients & test.patients)
        films = max(len(pretraining.files & test.files), len(pretraining.pixels & test.pixels))
        if patients or films:
            raise LeakageError(
                f"{pretraining.name} shares {patients} patients and {films} films with the test set "
                f"{test.name}; remove those patients from training, or do not declare this test set"
            )
    return {
        "pretraining": pretraining.name,
        "checked": [test.name for test in downstream],
        "overlapping_patients": 0,
        "overlapping_films": 0,
        "passed": True,
    }


def _qualified(patient: str, source: str) -> str:
    return patient if ":" in patient else f"{source}:{patient}"
