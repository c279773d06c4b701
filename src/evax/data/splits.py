"""Splits drawn by patient, so that no list has to be shared and no patient can cross."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from evax.data.film import Film

OFFICIAL, TRAIN = "official", ("train",)  # the scheme, and its splits that train, where none are named
IN_TWO_SPLITS = "film_in_two_splits"  # the reason of a refusal that must stop the preparation


def patient_draw(salt: str, patient_id: str) -> float:
    """A number in [0, 1) that a patient keeps on every machine and in every part of the data."""
    digest = hashlib.sha256(f"{salt}/{patient_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def draw_families_together(
    films: Sequence[Film], family: Int[np.ndarray, "N"], drawn: Mapping[str, Collection[str]]
) -> list[Film]:
    """The films, with the `drawn` splits of each scheme the same for a whole family: as for its first patient.

    Whether patients are linked by an equal film is known only when all are decoded. Other splits stay as they are.
    """
    united = list(films)
    for scheme, splits in drawn.items():
        rows = [row for row, film in enumerate(united) if film.splits.get(scheme) in splits]
        first: dict[int, Film] = {}
        for row in sorted(rows, key=lambda row: united[row].patient_id):
            one = first.setdefault(int(family[row]), united[row]).splits[scheme]
            if united[row].splits[scheme] != one:
                united[row] = replace(united[row], splits={**united[row].splits, scheme: one})
    return united
