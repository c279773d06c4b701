"""Splits drawn by patient, so that no list has to be shared and no patient can cross."""

import hashlib

IN_TWO_SPLITS = "film_in_two_splits"  # the reason of a refusal that must stop the preparation


def patient_draw(salt: str, patient_id: str) -> float:
    """A number in [0, 1) that a patient keeps on every machine and in every part of the data."""
    digest = hashlib.sha256(f"{salt}/{patient_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
