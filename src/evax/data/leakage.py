"""Leakage: no patient and no film may be on both sides of a comparison."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

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
    rows = np.flatnonzero(np.isin(pack.split(scheme), splits))
    patients, files, pixels = (pack.texts(name, rows) for name in ("patient_id", "file_sha256", "pixel_sha256"))
    return Cohort(
        f"{pack.manifest.source}/{scheme}/{'+'.join(splits)}",
        frozenset(qualified(patient, pack.manifest.source) for patient in set(patients)),
        frozenset(files) - {""},
        frozenset(pixels),
    )


def overlapping(pack: Pack, tests: Iterable[Cohort]) -> Bool[np.ndarray, "N"]:
    """Which films of a pack belong to a patient of the test sets, or to one who shares a film with them."""
    tests = tuple(tests)
    patients = frozenset[str]().union(*(test.patients for test in tests))
    files = frozenset[str]().union(*(test.files for test in tests))
    pixels = frozenset[str]().union(*(test.pixels for test in tests))
    owners = [qualified(patient, pack.manifest.source) for patient in pack.texts("patient_id")]
    digests = zip(owners, pack.texts("file_sha256"), pack.texts("pixel_sha256"), strict=True)
    known = {owner for owner, file, pixel in digests if owner in patients or file in files or pixel in pixels}
    return np.array([owner in known for owner in owners], bool)


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


def qualified(patient: str, source: str) -> str:
    """A patient id that means the same in every pack."""
    return patient if ":" in patient else f"{source}:{patient}"
