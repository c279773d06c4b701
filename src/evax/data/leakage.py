"""Leakage: no patient and no film may be on both sides of a comparison."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt64

from evax.data.links import num_shared, sorted_unique
from evax.data.pack import Pack

logger = logging.getLogger(__name__)


FIX = "remove those patients from training, or do not declare this test set"  # of data that keeps its own tests apart


class LeakageError(Exception):
    """Patients or films are on both sides of a split; the message counts them and never names them."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Some films of a pack, as ascending keys (`evax.data.links`) that mean the same in every pack.

    `files` and `pixels` are of the films as stored and as decoded.
    """

    name: str
    patients: UInt64[np.ndarray, "P"]
    files: UInt64[np.ndarray, "F"]
    pixels: UInt64[np.ndarray, "X"]


def crossing(keys: Iterable[str], splits: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The keys (patients, or digests of pixels) that occur in more than one split; "" is no split."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for key, split in zip(keys, splits, strict=True):
        if split:
            seen[key].add(split)
    return {key: tuple(sorted(names)) for key, names in seen.items() if len(names) > 1}


def cohort(pack: Pack, scheme: str, splits: Sequence[str]) -> Cohort:
    """The films of a pack that a scheme puts into one of `splits`."""
    is_in = pack.is_in(scheme, splits)
    patients, files, pixels = (sorted_unique(pack.keys(kind)[is_in]) for kind in ("patient", "file", "pixel"))
    return Cohort(f"{pack.manifest.source}/{scheme}/{'+'.join(splits)}", patients, files, pixels)


def overlap(one: Cohort, other: Cohort) -> tuple[int, int]:
    """How many patients, and how many films, as stored or as decoded, two cohorts share."""
    films = max(num_shared((one.files, other.files)), num_shared((one.pixels, other.pixels)))
    return num_shared((one.patients, other.patients)), films


def check_gate(
    pretraining: Cohort, downstream: Sequence[Cohort], *, published: bool = False, fix: str = FIX
) -> dict[str, Any]:
    """Prove that no film of `pretraining` is, or shares a patient with, a film of a downstream test set.

    Returns a verdict of plain types for the checkpoint; raises LeakageError at the first overlap, or, where the split
    was `published` with one, warns and lets the verdict count it. `fix` says what the user may do about it.
    """
    patients = films = 0
    for test in downstream:
        patients, films = overlap(pretraining, test)
        if published and (patients or films):
            logger.warning("%s was published with %d patients of %s in it", pretraining.name, patients, test.name)
            break
        if patients or films:
            raise LeakageError(
                f"{pretraining.name} shares {patients} patients and {films} images with the test set {test.name}; {fix}"
            )
    return {
        "pretraining": pretraining.name,
        "checked": [test.name for test in downstream],
        "overlapping_patients": patients,
        "overlapping_films": films,
        "passed": not (patients or films),
    }


def check_passed(verdict: Mapping[str, Any], scheme: str) -> None:
    """Raise LeakageError where a split was published with leaks, which protocol=clean does not have."""
    if not verdict["passed"]:
        raise LeakageError(
            f"data.split={scheme}: was published with {verdict['overlapping_patients']} patients on both sides, which "
            "protocol=clean refuses; choose another scheme by data.split=, or fine-tune under protocol=official"
        )
